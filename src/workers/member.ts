import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { LsnWaiter } from '../cluster/lsn-waiters.ts';
import { ClientCounts } from '../frontend/client-counts.ts';
import type { Overview } from '../plane/plane.ts';
import { Channel, type Port } from './channel.ts';
import type { FromWorker, ToWorker } from './messages.ts';

/** A worker that takes longer to receive a client does not get the next one, however few it has. */
const PROMPT_MS = 50;

/** A client on its way to a worker. */
export type Arrival = { readonly socket: Socket; readonly address: string | null; readonly readOnly: boolean };

export type MemberEvents = {
  heard(member: Member, message: FromWorker): unknown;
  failed(member: Member, error: unknown): void;
  ended(member: Member, how: string): void;
};

/** One worker: its process, and what is known of it here. */
export class Member {
  readonly index: number;
  readonly channel: Channel<ToWorker, FromWorker>;
  /** Clients may come. */
  ready = false;
  /** They may have come, and may still be served. */
  served = false;
  /** Connections that were handed over and are there. */
  clients = 0;
  /** Whether a client is on its way to it: one at a time, so that nothing else waits long behind sockets. */
  receiving: 'nobody' | 'a client' | 'for long' = 'nobody';
  overview: Overview | null = null;
  /** Rounds in a row that it has not answered in time. */
  missed = 0;
  /** Commands of the console that run for its operators. */
  readonly running = new Map<number, AbortController>();
  /** On behalf of its sessions. */
  waiter: LsnWaiter | null = null;
  /** Of its clients that have entered. */
  readonly places = new ClientCounts();
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcess;

  /** @throws Error when the system has no room for another process */
  constructor(index: number, events: MemberEvents) {
    this.index = index;
    const execArgv = process.execArgv.filter((argument) => !/^--(test|inspect)/.test(argument));
    this.#child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv,
    });
    this.channel = new Channel(
      this.#child as unknown as Port,
      (message) => events.heard(this, message),
      (error) => events.failed(this, error),
    );
    this.gone = new Promise((resolve) => {
      const over = (how: string) => {
        this.ready = false;
        this.served = false;
        this.channel.close();
        events.ended(this, how);
        resolve();
      };
      this.#child.once('exit', (code, signal) => over(signal === null ? `exit code ${code}` : signal));
      this.#child.once('error', (error) => {
        // not started at all: there will be no exit
        if (this.#child.pid === undefined) over(error.message);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** @param changed called when `receiving` says something else: the client is there, or lost with the worker, or that takes long */
  receive({ socket, address, readOnly }: Arrival, clients: number, changed: () => void): void {
    const now = (receiving: Member['receiving']) => {
      this.receiving = receiving;
      changed();
    };
    this.receiving = 'a client';
    this.clients++;
    // else the server of this process would go on counting it
    (socket as { server?: unknown }).server = undefined;
    const late = setTimeout(() => now('for long'), PROMPT_MS);
    const over = () => {
      clearTimeout(late);
      socket.destroy();
      now('nobody');
    };
    this.channel.ask({ kind: 'client', address, readOnly, clients }, socket).then(over, over);
  }

  /** @returns undefined when it does not answer in time, or is gone */
  async ask<T>(message: ToWorker, timeoutMs: number): Promise<T | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        // it may have been us who did nothing for long: what is there by now is read before that
        setImmediate(() => setImmediate(() => resolve(undefined)));
      }, timeoutMs);
    });
    const answer = this.channel.ask<T>(message).catch(() => undefined);
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** It has nothing to do any more, and ends. */
  dismiss(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
