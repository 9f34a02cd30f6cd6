/** Fairlead as a process that can be killed, stopped for a while, and started again at the same addresses. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigInput } from '../../src/config/config.ts';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import { until } from '../support/wait.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.js');

export type ClusterView = {
  readonly epoch: number;
  readonly primary: string | null;
  readonly phase: string;
  readonly reason: string;
  readonly synchronous: { readonly state: string } | null;
  readonly nodes: readonly {
    readonly name: string;
    readonly state: string;
    readonly reason: string;
    readonly readable: boolean;
  }[];
};

export type ClusterEvent = {
  readonly at: string;
  readonly id: string;
  readonly kind: string;
  readonly node: string | null;
  readonly message: string;
  readonly details?: {
    readonly kind?: string;
    readonly unprovenWrites?: readonly { readonly acknowledgedAt: string; readonly client: string }[];
  };
};

export class FairleadChild {
  readonly http: string;
  readonly logFile: string;
  /** Rises with every start: what one process knew in memory, the next does not. */
  generation = 0;
  readonly #configFile: string;
  #child: ChildProcess | null = null;

  /** @param directory of its configuration and its log */
  constructor(directory: string, config: ConfigInput) {
    this.http = `http://${config.http}`;
    this.logFile = join(directory, 'fairlead.log');
    this.#configFile = join(directory, 'fairlead.yaml');
    // JSON is YAML
    writeFileSync(this.#configFile, JSON.stringify(config));
    atExit(() => this.#child?.kill('SIGKILL'));
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Resolves when it says that it is ready. */
  async start(): Promise<void> {
    if (this.#child !== null) return;
    const log = openSync(this.logFile, 'a');
    const from = statSync(this.logFile).size;
    const child = spawn(process.execPath, [MAIN, 'start', '-c', this.#configFile], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    this.generation++;
    child.once('exit', () => {
      if (this.#child === child) this.#child = null;
    });
    const said = () => readFileSync(this.logFile).subarray(from).toString();
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${said().slice(-500)}`);
        return said().includes('"msg":"ready"');
      },
      { what: 'Fairlead to be ready', timeoutMs: 60_000, everyMs: 50 },
    );
  }

  /** SIGKILL and SIGTERM: resolves when it has ended. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill(signal);
    await ended;
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** @throws Error when it does not answer within two seconds */
  look(): Promise<ClusterView> {
    return this.#get('/api/cluster') as Promise<ClusterView>;
  }

  /** Newest first. */
  async events(): Promise<readonly ClusterEvent[]> {
    const { events } = (await this.#get('/api/events?limit=1000')) as { events: readonly ClusterEvent[] };
    return events;
  }

  /** @returns the status, and the answer */
  async post(path: string, body: object = {}): Promise<{ status: number; answer: { error?: string } }> {
    const response = await fetch(`${this.http}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
    return { status: response.status, answer: (await response.json()) as { error?: string } };
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(`${this.http}${path}`, { signal: AbortSignal.timeout(2000) });
    return response.json();
  }
}
