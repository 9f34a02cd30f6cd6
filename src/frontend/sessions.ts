import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { nowMs } from '../core/clock.ts';
import type { FairleadError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import { ClientCounts, type Place } from './client-counts.ts';
import { ALONE, type Neighbours } from './neighbours.ts';
import type { Session } from './session.ts';

/** The most that Linux gives (PID_MAX_LIMIT). */
const MAX_PROCESS_ID = 2 ** 22;

/** Process id and secret that a client may cancel with. */
export type CancelKey = { readonly pid: number; readonly secret: Buffer };

export type SessionStatistics = {
  readonly total: number;
  /** A statement runs, or a transaction is open. */
  readonly active: number;
  readonly idle: number;
  readonly pinned: number;
  /** Wait for a server connection or for a replica to catch up. */
  readonly waiting: number;
  /** Wait for a primary. */
  readonly held: number;
};

type Cancellable = { cancel(): void };

/** A replication connection. */
export type Stream = Cancellable & { terminate(error: FairleadError): void };

/** Who a client is, and where it is. Physical replication is in no database: that is ''. */
export type Where = { readonly database: string; readonly user: string };

/** Every client that is logged in, and the keys that cancel its statements. */
export class Sessions {
  /** By the process id they were told. */
  readonly #sessions = new Map<number, Session>();
  readonly counts = new ClientCounts();
  readonly #neighbours: Neighbours;
  readonly #others = new Map<number, { readonly target: Cancellable; readonly secret: Buffer }>();
  readonly #streams = new Map<Stream, Where>();

  constructor(neighbours: Neighbours = ALONE) {
    this.#neighbours = neighbours;
  }

  get size(): number {
    return this.#sessions.size;
  }

  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** @param held those parked for want of a primary */
  statistics(held: number): SessionStatistics {
    const counts = { total: 0, active: 0, idle: 0, pinned: 0, waiting: 0, held };
    for (const session of this.all()) {
      counts.total++;
      if (session.pinned !== null) counts.pinned++;
      if (session.state === 'waiting') counts.waiting++;
      else if (session.state === 'active' || session.inTransaction) counts.active++;
      else counts.idle++;
    }
    counts.waiting = Math.max(0, counts.waiting - held);
    return counts;
  }

  /**
   * A key nobody has. The pid is a positive int4, as drivers expect, and no process of a server has it.
   * @param minor version of the protocol: before 3.2 a secret has four bytes
   */
  newKey(minor: number): CancelKey {
    const secretBytes = minor >= 2 ? 32 : 4;
    const { count, index } = this.#neighbours;
    for (;;) {
      const random = randomInt(MAX_PROCESS_ID + count, 2 ** 31 - count);
      const pid = random - (random % count) + index;
      if (!this.#sessions.has(pid) && !this.#others.has(pid)) return { pid, secret: randomBytes(secretBytes) };
    }
  }

  add(session: Session): void {
    this.#sessions.set(session.client.pid, session);
    this.#count(whereOf(session), 1);
  }

  /** The session that was told this process id. */
  find(pid: number): Session | undefined {
    return this.#sessions.get(pid);
  }

  remove(session: Session): void {
    if (this.#sessions.delete(session.client.pid)) this.#count(whereOf(session), -1);
  }

  /** Sessions and streams of a database, of a user, or of both; null: any. */
  countOf(database: string | null, user: string | null): number {
    return this.counts.of(database, user);
  }

  /** The same, place by place. */
  places(): Place[] {
    return this.counts.places();
  }

  /** Somebody else that may be cancelled: an operator at the admin console. @returns how to take it back */
  addCancellable(key: CancelKey, target: Cancellable): () => void {
    this.#others.set(key.pid, { target, secret: key.secret });
    return () => this.#others.delete(key.pid);
  }

  /** Counted and ended with the sessions, but in none of their statistics. @returns how to take it back, once */
  addStream(key: CancelKey, where: Where, stream: Stream): () => void {
    const forget = this.addCancellable(key, stream);
    this.#streams.set(stream, where);
    this.#count(where, 1);
    return () => {
      forget();
      if (this.#streams.delete(stream)) this.#count(where, -1);
    };
  }

  /** Ends every session as soon as it is idle outside of a transaction; those that are, at once. */
  drain(): void {
    for (const session of [...this.all()]) session.drain();
  }

  /** Ends every such session and stream, whatever it does. */
  endAll(which: (where: Where) => boolean, error: FairleadError): void {
    for (const session of [...this.all()]) if (which(whereOf(session))) session.terminate(error);
    for (const [stream, where] of [...this.#streams]) if (which(where)) stream.terminate(error);
  }

  #count(where: Where, change: 1 | -1): void {
    this.counts.add(where.database, where.user, change);
    if (change === -1) this.#neighbours.leave(where);
  }

  /** True for a process id that only another process can have told a client. */
  isElsewhere(pid: number): boolean {
    const { count, index } = this.#neighbours;
    return pid > MAX_PROCESS_ID && pid % count !== index;
  }

  /** A CancelRequest; a wrong key does nothing, as with PostgreSQL. */
  cancel(pid: number, secret: Buffer): void {
    const session = this.#sessions.get(pid);
    const entry =
      session === undefined
        ? this.#others.get(pid)
        : { target: session, secret: Buffer.from(session.client.cancelSecret, 'latin1') };
    if (entry === undefined || entry.secret.length !== secret.length || !timingSafeEqual(entry.secret, secret)) return;
    entry.target.cancel();
  }

  /** Sessions in a transaction or with a statement under way on the node. */
  busyOn(node: string): number {
    let busy = 0;
    for (const session of this.all()) {
      if (session.linkedTo?.node === node && (session.inTransaction || session.state === 'active')) busy++;
    }
    return busy;
  }

  /** Resolves when nothing runs on the node any more, or the time is over. */
  async quiesce(node: string, timeoutMs: number): Promise<void> {
    const untilMs = nowMs() + timeoutMs;
    while (this.busyOn(node) > 0 && nowMs() < untilMs) await sleep(5);
  }

  terminateAll(error: FairleadError): void {
    for (const session of [...this.all()]) session.terminate(error);
  }
}

function whereOf({ client }: Session): Where {
  return { database: client.database, user: client.identity.user };
}
