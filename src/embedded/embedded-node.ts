import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { FairleadError, messageOf } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { PostgresBinaries } from './binaries.ts';
import { killAllOf, processesOf, removeSharedMemoryOf, signalProcess } from './postgres-processes.ts';
import type { UnprivilegedUser } from './unprivileged-user.ts';

/** Where a server runs that has an address of its own; by default it is one of this machine's, on the loopback address. */
export type Place = {
  readonly host: string;
  /** Whoever may come in with a password, as pg_hba.conf names it. */
  readonly network: string;
  /** Where its socket lies, which is reached whatever becomes of the network; null: it has none. */
  readonly socketDirectory: string | null;
  /** What the server's program is run by: it enters the place, drops our privileges, and becomes the program. */
  readonly launcher: (user: UnprivilegedUser | null) => readonly string[];
};

export const LOOPBACK: Place = {
  host: '127.0.0.1',
  network: '127.0.0.1/32',
  socketDirectory: null,
  launcher: () => [],
};

export type EmbeddedNodeOptions = {
  readonly name: string;
  readonly place: Place;
  readonly port: number;
  /** The data directory. */
  readonly directory: string;
  readonly logFile: string;
  readonly binaries: PostgresBinaries;
  readonly user: UnprivilegedUser | null;
  readonly superuser: string;
  readonly password: string;
};

/** `fast` ends sessions and writes a checkpoint, `immediate` neither (the next start recovers). */
export type StopMode = 'fast' | 'immediate';

const STOP_SIGNAL = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
/** ENOENT: its socket is not there yet. 57P01: whoever fences it ends the sessions that it has. */
const STARTING = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', '57P03', '57P01']);

/** One PostgreSQL server as a direct child process, so that its pid is the postmaster's. */
export class EmbeddedNode {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly logFile: string;
  readonly host: string;
  /** Superuser, database postgres. */
  readonly url: string;
  /** The same through its socket, where it has one. */
  readonly localUrl: string;
  readonly #options: EmbeddedNodeOptions;
  #child: ChildProcess | null = null;

  constructor(options: EmbeddedNodeOptions) {
    this.name = options.name;
    this.port = options.port;
    this.directory = options.directory;
    this.logFile = options.logFile;
    this.host = options.place.host;
    this.url = `postgres://${options.superuser}:${options.password}@${this.host}:${options.port}/postgres`;
    const { socketDirectory } = options.place;
    this.localUrl = socketDirectory === null ? this.url : `${this.url}?host=${encodeURIComponent(socketDirectory)}`;
    this.#options = options;
  }

  /** The postmaster's, or null while it does not run. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * Starts the server and waits until it answers a query; at once when it runs already. Children that outlived a killed
   * postmaster are removed first: they would hold its shared memory ("pre-existing shared memory block … is still in use").
   * @throws FairleadError refused with the end of the server's log.
   */
  async start(timeoutMs = 60_000): Promise<void> {
    if (this.#child !== null) return;
    killAllOf(this.directory);
    const { binaries, user, place } = this.#options;
    const launcher = place.launcher(user);
    const command = [...launcher, join(binaries.directory, 'postgres'), '-D', this.directory];
    const log = openSync(this.logFile, 'a', 0o600);
    const child = spawn(command[0] as string, command.slice(1), {
      cwd: this.directory,
      env: serverEnvironment(),
      stdio: ['ignore', log, log],
      // a session of its own: Ctrl-C in the terminal is for us, who then stop the servers in order
      detached: true,
      ...(user === null || launcher.length > 0 ? {} : { uid: user.uid, gid: user.gid }),
    });
    closeSync(log);
    this.#child = child;
    let failure: unknown;
    child.once('error', (error) => {
      failure = error;
      if (this.#child === child) this.#child = null;
    });
    child.once('exit', () => {
      if (this.#child === child) this.#child = null;
    });
    // a program that is done ends although servers run; the exit handler then removes them
    child.unref();
    try {
      await this.#untilReady(child, performance.now() + timeoutMs);
    } catch (error) {
      await this.stop('immediate');
      throw new FairleadError(
        'refused',
        `server ${this.name} did not start: ${messageOf(failure ?? error)}${this.#endOfLog()}`,
        `see ${this.logFile}`,
      );
    }
  }

  /** Ends the server, also one that is stopped by SIGSTOP or does not react: after `patienceMs` everything is killed. */
  async stop(mode: StopMode = 'fast', patienceMs = 10_000): Promise<void> {
    const child = this.#child;
    if (child !== null) {
      const gone = exitOf(child);
      this.thaw();
      child.kill(STOP_SIGNAL[mode]);
      const patience = new AbortController();
      await Promise.race([gone, sleep(patienceMs, patience.signal)]);
      patience.abort();
    }
    // an agent may have started it anew
    const ran = child !== null || processesOf(this.directory).length > 0;
    killAllOf(this.directory);
    if (ran) removeSharedMemoryOf(this.directory);
    this.#child = null;
  }

  /** Sends the postmaster a signal; after SIGKILL waits until it has ended. Its children notice by themselves. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const gone = exitOf(child);
    child.kill(signal);
    if (signal === 'SIGKILL') await gone;
  }

  /** Stops the postmaster and all its children by SIGSTOP: connections stay open, nothing answers. */
  freeze(): void {
    // the postmaster first, so that it starts no more children; then until a pass finds no new one
    if (this.pid !== null) signalProcess(this.pid, 'SIGSTOP');
    const frozen = new Set<number>();
    for (let before = -1; before !== frozen.size; ) {
      before = frozen.size;
      for (const pid of processesOf(this.directory)) {
        if (signalProcess(pid, 'SIGSTOP')) frozen.add(pid);
      }
    }
  }

  /** Lets a frozen server go on. */
  thaw(): void {
    for (const pid of processesOf(this.directory)) signalProcess(pid, 'SIGCONT');
  }

  /** For an exit handler: gone, without waiting for promises. */
  killNow(): void {
    this.#child?.kill('SIGKILL');
    killAllOf(this.directory);
    removeSharedMemoryOf(this.directory);
    this.#child = null;
  }

  async #untilReady(child: ChildProcess, deadlineMs: number): Promise<void> {
    for (;;) {
      if (this.#child !== child) throw new Error('it ended at once');
      const client = new pg.Client({ connectionString: this.localUrl, connectionTimeoutMillis: 2000 });
      client.on('error', () => {});
      try {
        await client.connect();
        await client.query('SELECT 1');
        return;
      } catch (error) {
        // without a code: no answer in time, or a connection that ended without a word
        const { code } = error as { code?: string };
        const retry = code === undefined || STARTING.has(code);
        if (!retry || performance.now() > deadlineMs) throw error;
      } finally {
        await client.end().catch(() => {});
      }
      await sleep(25);
    }
  }

  #endOfLog(): string {
    try {
      const lines = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-3);
      return `; its log ends: ${lines.join(' | ')}`;
    } catch {
      return '';
    }
  }
}

function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  child.ref();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** What the servers see of our environment: the caller's PGDATA, PGPORT or locale must not leak in. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}
