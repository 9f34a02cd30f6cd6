/**
 * The application of the fault tests: many clients that write unique numbers and read them back, and note what they were told.
 * At the end what was told is compared with what is there.
 */
import type pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { type Connection, closeAll, openMany } from './connection.ts';
import { until } from './wait.ts';

export type Entry = {
  readonly id: number;
  /** Monotonic milliseconds. */
  readonly startedMs: number;
  endedMs: number;
  readonly client: number;
  /** `failed`: certainly not there; `unknown`: there or not, also while it is not answered yet. */
  outcome: 'ok' | 'failed' | 'unknown';
  /** SQLSTATE when it is not ok. */
  code: string | null;
};

/** SQLSTATEs after which nobody can know: the outcome of a write under way. */
const UNKNOWN = new Set(['08007', '40003']);

export class Journal {
  readonly entries: Entry[] = [];
  /** What reads failed with: SQLSTATE and message. */
  readonly readErrors: string[] = [];
  /** Ids that their own writer did not find right after the write was acknowledged. */
  readonly missed: number[] = [];
  readonly connections: readonly Connection[];
  #stopping = false;
  #next = 1;
  readonly #running: Promise<unknown>;

  private constructor(connections: readonly Connection[]) {
    this.connections = connections;
    this.#running = Promise.all(connections.map((connection, index) => this.#run(connection, index)));
    this.#running.catch(() => {});
  }

  /** Creates table `journal` and starts writing to it. It has no key: a number that is written twice is seen. Each row names the server's port. */
  static async start(url: string, clients: number): Promise<Journal> {
    const connections = await openMany(url, clients);
    await (connections[0] as Connection).rows(
      'CREATE TABLE journal (id int, client int, port int DEFAULT inet_server_port())',
    );
    return new Journal(connections);
  }

  get acknowledged(): Entry[] {
    return this.entries.filter((entry) => entry.outcome === 'ok');
  }

  /** SQLSTATEs of all that was not acknowledged, with how often. */
  get codes(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { code } of this.entries) if (code !== null) counts[code] = (counts[code] ?? 0) + 1;
    return counts;
  }

  /** When the first write after that moment was acknowledged; null while there is none. */
  acknowledgedAfter(momentMs: number): number | null {
    const ended = this.acknowledged.map((entry) => entry.endedMs).filter((endedMs) => endedMs > momentMs);
    return ended.length === 0 ? null : Math.min(...ended);
  }

  /** The number that the next write will have. */
  get next(): number {
    return this.#next;
  }

  /** Ends the clients when what they are at is answered. @throws what a client could not go on after, or who is never answered */
  async stop(timeoutMs = 60_000): Promise<void> {
    this.#stopping = true;
    let answered = false;
    this.#running.then(
      () => (answered = true),
      () => (answered = true),
    );
    try {
      await until(() => answered, { what: 'an answer for every client', timeoutMs });
      await this.#running;
    } finally {
      await closeAll(this.connections);
    }
  }

  /** Resolves when every client has had another write acknowledged that it began after this call. */
  async progress(timeoutMs = 40_000): Promise<void> {
    const nowMs = performance.now();
    const there = () => {
      const later = this.entries.filter(({ startedMs, outcome }) => startedMs > nowMs && outcome === 'ok');
      const written = new Set(later.map(({ client }) => client));
      const waiting = this.connections.flatMap(({ lost }, client) =>
        written.has(client) ? [] : [lost ?? 'no answer'],
      );
      if (waiting.length > 0) throw new Error(`${waiting}; ${JSON.stringify(this.codes)}`);
      return true;
    };
    await until(there, { what: 'another write of every client', timeoutMs });
  }

  /** What began after that moment and is on a server all the same: `rows` are that server's. */
  begunAfter(momentMs: number, rows: readonly { readonly id: number }[]): number[] {
    const begun = new Map(this.entries.map(({ id, startedMs }) => [id, startedMs]));
    return rows.map(({ id }) => id).filter((id) => (begun.get(id) ?? 0) > momentMs);
  }

  /** Compares with the rows of the table. */
  compare(rows: readonly { readonly id: number }[]) {
    const there = new Set(rows.map((row) => row.id));
    const allowed = new Set(this.entries.filter((entry) => entry.outcome !== 'failed').map((entry) => entry.id));
    const lost = this.acknowledged.filter((entry) => !there.has(entry.id)).map((entry) => entry.id);
    return {
      lost,
      /** There, although it was said to have failed, or never written. */
      ghosts: [...there].filter((id) => !allowed.has(id)),
      duplicates: rows.length - there.size,
      /** Own writes that were not seen, other than those that the failover lost. */
      missed: this.missed.filter((id) => !lost.includes(id)),
    };
  }

  async #run(connection: Connection, index: number): Promise<void> {
    for (let turn = 0; !this.#stopping && connection.lost === null; turn++) {
      const entry = await this.#write(connection, index, turn);
      if (entry.outcome === 'ok') await this.#read(connection, entry.id, turn);
      // a machine with few processors has servers to run as well
      await sleep(2);
    }
  }

  async #write(connection: Connection, index: number, turn: number): Promise<Entry> {
    const now = performance.now();
    const entry: Entry = {
      ...{ id: this.#next++, client: index, startedMs: now, endedMs: now },
      ...{ outcome: 'unknown', code: null },
    };
    this.entries.push(entry);
    const insert = 'INSERT INTO journal VALUES ($1, $2)';
    let committing = turn % 4 !== 3;
    try {
      if (committing) await connection.rows(insert, [entry.id, index], turn % 2 === 0 ? 'insert' : undefined);
      else {
        await connection.rows('BEGIN');
        await connection.rows(insert, [entry.id, index]);
        committing = true;
        await connection.rows('COMMIT');
      }
      entry.outcome = 'ok';
    } catch (error) {
      entry.code = (error as pg.DatabaseError).code ?? String(error);
      // a lost connection says nothing either
      entry.outcome = UNKNOWN.has(entry.code) || connection.lost !== null ? 'unknown' : 'failed';
      if (!committing) await connection.rows('ROLLBACK').catch(() => {});
    }
    entry.endedMs = performance.now();
    return entry;
  }

  async #read(connection: Connection, id: number, turn: number): Promise<void> {
    const text = 'SELECT id FROM journal WHERE id = $1';
    try {
      const rows =
        turn % 2 === 0
          ? await connection.rows(text, [id], 'find')
          : await connection.rows(text.replace('$1', String(id)));
      if (rows.length === 0) this.missed.push(id);
    } catch (error) {
      this.readErrors.push(`${(error as pg.DatabaseError).code} ${(error as Error).message}`);
    }
  }
}
