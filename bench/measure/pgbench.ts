import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import type { Contender } from '../contender/contender.ts';
import type { ProcessorTime } from './processor-time.ts';
import { ProcessorWatch } from './processor-watch.ts';

/** One row of the table. */
export type Workload = {
  readonly script: 'select-only' | 'tpcb-like';
  readonly protocol: 'simple' | 'extended' | 'prepared';
  readonly clients: number;
  /** A connection for each transaction. */
  readonly reconnect: boolean;
};

export type Run = {
  readonly tps: number;
  /** The proxy's, in microseconds per transaction, logins left out unless they belong to it; null: nobody stands between. */
  readonly perTransaction: ProcessorTime | null;
};

/** Requests that come at times of their own, whatever became of those before them. */
export type PacedRun = {
  readonly tps: number;
  /** From the time at which a request was due to the end of its answer, microseconds, in the order of their ends. */
  readonly latenciesUs: readonly number[];
};

/** What a login takes where that is not known: pgbench derives a key of the password each time. */
const LOGIN_MS = 15;
const ATTEMPTS = 3;
/** What ends a run that does not end. */
const GRACE_MS = 30_000;

/** Runs pgbench, and remembers how long logins take: its clock runs while it logs in, one client after the other. */
export class Pgbench {
  readonly program: string;
  /** Milliseconds that one login took, by URL. */
  readonly #loginMs = new Map<string, number>();

  constructor(program: string) {
    this.program = program;
  }

  /** @throws Error with the first line that pgbench complained with. */
  async initialize(url: string, scale: number): Promise<void> {
    await this.#run(['-i', '-q', '-s', String(scale), url], 600_000);
  }

  /** @throws Error when a client of it fails, or none has done anything. */
  async measure({ url, pid }: Contender, workload: Workload, seconds: number): Promise<Run> {
    const { script, protocol, clients, reconnect } = workload;
    // a connection for each transaction is made by a thread that waits for it
    const threads = reconnect ? clients : 1;
    const args = ['-n', '-b', script, '-M', protocol, '-c', String(clients), '-j', String(threads)];
    if (reconnect) args.push('-C');
    const { tps, spent } = await this.#timed(args, { url, pid }, reconnect ? 0 : clients, seconds);
    return { tps, perTransaction: spent && { user: spent.user / tps, kernel: spent.kernel / tps } };
  }

  /**
   * SELECTs by primary key over `clients` connections, due at random times (a Poisson process) of `rate` a second on average.
   * @throws Error as `measure`
   */
  async pace(url: string, clients: number, rate: number, seconds: number): Promise<PacedRun> {
    const directory = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
    try {
      const args = ['-n', '-b', 'select-only', '-c', String(clients), '-j', '1', '-R', String(rate)];
      args.push('-l', `--log-prefix=${join(directory, 'log')}`);
      const { tps } = await this.#timed(args, { url, pid: null }, clients, seconds);
      const latenciesUs = readdirSync(directory).flatMap((name) => {
        const lines = readFileSync(join(directory, name), 'latin1').trim().split('\n');
        // client, number, microseconds since it was due, script, when
        return lines.map((line) => Number(line.split(' ')[2]));
      });
      return { tps, latenciesUs };
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** One session that repeats a statement for a while. @throws Error as `measure` */
  async repeat(url: string, statement: string, seconds: number): Promise<void> {
    const directory = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
    try {
      const file = join(directory, 'statement.sql');
      writeFileSync(file, `${statement};\n`);
      await this.#run(['-n', '-f', file, '-c', '1', '-T', String(seconds), url], seconds * 1000 + GRACE_MS);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** How long a run takes with its logins, seconds, as far as it is known. */
  lengthOf(url: string, clients: number, seconds: number): number {
    return seconds + Math.ceil((clients * (this.#loginMs.get(url) ?? LOGIN_MS)) / 1000);
  }

  /** @param clients that log in before the measured time begins */
  async #timed(
    args: readonly string[],
    { url, pid }: Pick<Contender, 'url' | 'pid'>,
    clients: number,
    seconds: number,
  ): Promise<{ readonly tps: number; readonly spent: ProcessorTime | null }> {
    for (let attempt = 1; ; attempt++) {
      const limit = this.lengthOf(url, clients, seconds);
      const watch = new ProcessorWatch(pid);
      watch.start();
      const output = await this.#run([...args, '-T', String(limit), url], limit * 1000 + GRACE_MS).finally(() =>
        watch.stop(),
      );
      const number = (pattern: RegExp) => Number(pattern.exec(output)?.[1] ?? 0);
      const tps = number(/tps = ([\d.]+) \(/);
      if (clients === 0 && tps > 0) return { tps, spent: watch.perSecond(0) };
      // it tells nothing when its time was over before all had logged in
      const loginMs = number(/initial connection time = ([\d.]+) ms/) || limit * 2000;
      if (clients > 0) this.#loginMs.set(url, loginMs / clients);
      if (tps > 0 && loginMs < limit * 1000 - seconds * 500) return { tps, spent: watch.perSecond(loginMs) };
      if (attempt === ATTEMPTS) throw new Error(`no transaction within ${limit} s, logins included`);
    }
  }

  #run(args: readonly string[], mostMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      let complaints = '';
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, mostMs);
      const forget = atExit(() => child.kill('SIGKILL'));
      child.stdout.on('data', (chunk) => {
        output += chunk;
      });
      child.stderr.on('data', (chunk) => {
        complaints = (complaints + chunk).slice(0, 10_000);
      });
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        forget();
        if (code === 0) return resolve(output);
        if (late) return reject(new Error(`no end within ${Math.round(mostMs / 1000)} s`));
        const line = complaints.split('\n').find((text) => /error|fatal/i.test(text)) ?? `exit code ${code}`;
        reject(new Error(line.trim()));
      });
    });
  }
}
