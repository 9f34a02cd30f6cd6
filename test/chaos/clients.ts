/**
 * Clients that write unique numbers through the proxy and read them back, over as many connections as it takes: each notes what it was told, by which
 * server, and through which run of Fairlead.
 */
import type net from 'node:net';
import type pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { Connection } from '../support/connection.ts';
import { type Random, randomFrom } from '../support/random.ts';
import { until } from '../support/wait.ts';

export type Entry = {
  readonly id: number;
  readonly writer: number;
  /** The client's address as Fairlead knows it. */
  readonly address: string;
  /** Of Fairlead's process. */
  readonly generation: number;
  /** Wall clock, as that of Fairlead's events: one machine. */
  readonly startedMs: number;
  endedMs: number;
  /** `failed`: certainly not there; `unknown`: there or not. */
  outcome: 'ok' | 'failed' | 'unknown';
  code: string | null;
  /** Port of the server that ran it; null when nobody said. */
  server: number | null;
};

/** A read that did not show what it should have: right if that is nowhere any more. */
export type Doubt = {
  readonly kind: 'own write' | 'monotonic';
  readonly client: number;
  readonly missing: number;
  readonly atMs: number;
};

export type Drop = {
  readonly atMs: number;
  readonly reason: string;
  readonly generation: number;
  readonly pinned: boolean;
};
export type ReadError = { readonly atMs: number; readonly error: string; readonly generation: number };

export type ClientsOptions = {
  readonly writers: number;
  readonly readers: number;
  readonly pinned: number;
  readonly seed: number;
  /** Between two operations of a client. */
  readonly pauseMs: number;
  /** Single inserts only, and no reads by writers. */
  readonly plain?: boolean;
};

/** SQLSTATEs after which nobody can know. */
const UNKNOWN = new Set(['08007', '40003']);
const INSERT = 'INSERT INTO journal (id, writer) VALUES ($1, $2) RETURNING inet_server_port() AS port';
const REST_MS = 90_000;

export class Clients {
  entries: Entry[] = [];
  doubts: Doubt[] = [];
  drops: Drop[] = [];
  readErrors: ReadError[] = [];
  reads = 0;
  readonly #url: string;
  readonly #options: ClientsOptions;
  readonly #generation: () => number;
  readonly #running: Promise<unknown>[];
  #next = 1;
  /** So that every write belongs to a round. */
  #paused = true;
  #stopping = false;
  #resting = 0;

  private constructor(url: string, options: ClientsOptions, generation: () => number) {
    this.#url = url;
    this.#options = options;
    this.#generation = generation;
    const { writers, readers, pinned } = options;
    this.#running = Array.from({ length: writers + readers + pinned }, (_, client) => this.#run(client));
  }

  /** At rest until `resume`. @param generation which run of Fairlead this is */
  static async start(url: string, options: ClientsOptions, generation: () => number): Promise<Clients> {
    const connection = await Connection.open(url);
    // no key: a number that is written twice is seen
    await connection.rows('CREATE TABLE journal (id int, writer int)');
    await connection.rows('CREATE INDEX ON journal (id)');
    await connection.rows('CREATE TABLE counters (writer int PRIMARY KEY, id int NOT NULL)');
    await connection.rows(`INSERT INTO counters SELECT i, 0 FROM generate_series(0, ${options.writers + 10}) i`);
    await connection.close();
    return new Clients(url, options, generation);
  }

  /** The number that the next write will have. */
  get next(): number {
    return this.#next;
  }

  get acknowledged(): Entry[] {
    return this.entries.filter(({ outcome }) => outcome === 'ok');
  }

  /** When a write that began after that moment (wall clock) was acknowledged first. */
  acknowledgedAfter(momentMs: number): number | null {
    const ended = this.entries
      .filter((one) => one.outcome === 'ok' && one.startedMs > momentMs)
      .map((one) => one.endedMs);
    return ended.length === 0 ? null : Math.min(...ended);
  }

  /** Resolves when everybody has an answer. @throws Error when somebody gets none */
  async pause(): Promise<void> {
    this.#paused = true;
    const answered = () => this.#resting === this.#running.length;
    await until(answered, { what: 'every client to get an answer', timeoutMs: REST_MS });
  }

  /** Forgets what was noted so far. */
  resume(): void {
    this.entries = [];
    this.doubts = [];
    this.drops = [];
    this.readErrors = [];
    this.reads = 0;
    this.#paused = false;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.race([Promise.allSettled(this.#running), sleep(5000)]);
  }

  async #run(client: number): Promise<void> {
    const { writers, readers, seed, pauseMs } = this.#options;
    const random = randomFrom(seed + client);
    const pinned = client >= writers + readers;
    let connection: Connection | null = null;
    let generation = 0;
    /** What this session has seen of each writer. */
    let seen = new Map<number, number>();
    while (!this.#stopping) {
      if (connection?.lost) {
        this.drops.push({ atMs: Date.now(), reason: connection.lost, generation, pinned });
        connection = null;
      }
      if (this.#paused) {
        this.#resting++;
        while (this.#paused && !this.#stopping) await sleep(10);
        this.#resting--;
        continue;
      }
      if (connection === null) {
        generation = this.#generation();
        seen = new Map();
        connection = await this.#connect(pinned);
        if (connection === null) await sleep(50);
        continue;
      }
      if (client < writers || pinned) await this.#write(connection, client, generation, random);
      else await this.#watch(connection, client, generation, seen);
      await sleep(pauseMs);
    }
    await connection?.close();
  }

  async #connect(pinned: boolean): Promise<Connection | null> {
    try {
      const connection = await Connection.open(this.#url);
      if (pinned) await connection.rows('CREATE TEMP TABLE own (id int)');
      return connection;
    } catch {
      return null;
    }
  }

  async #write(connection: Connection, client: number, generation: number, random: Random): Promise<void> {
    const { plain = false } = this.#options;
    const { localPort } = (connection.client as pg.Client & { connection: { stream: net.Socket } }).connection.stream;
    const now = Date.now();
    const entry: Entry = {
      ...{ id: this.#next++, writer: client, address: `127.0.0.1:${localPort}`, generation },
      ...{ startedMs: now, endedMs: now, outcome: 'ok', code: null, server: null },
    };
    this.entries.push(entry);
    const values = [entry.id, client];
    let committing = plain || !random.chance(0.3);
    try {
      let rows: { port: number }[];
      if (committing) rows = await connection.rows(INSERT, values, random.chance(0.5) ? 'insert' : undefined);
      else {
        await connection.rows('BEGIN');
        rows = await connection.rows(INSERT, values);
        await connection.rows('UPDATE counters SET id = greatest(id, $1) WHERE writer = $2', values);
        committing = true;
        await connection.rows('COMMIT');
      }
      entry.server = rows[0]?.port ?? null;
    } catch (error) {
      entry.code = (error as pg.DatabaseError).code ?? String(error);
      // a lost connection says nothing either
      entry.outcome = committing && (UNKNOWN.has(entry.code) || connection.lost !== null) ? 'unknown' : 'failed';
      if (!committing && connection.lost === null) await connection.rows('ROLLBACK').catch(() => {});
    }
    entry.endedMs = Date.now();
    if (!plain && entry.outcome === 'ok' && random.chance(0.5)) await this.#readBack(connection, entry, random);
  }

  async #readBack(connection: Connection, { id, writer, generation }: Entry, random: Random): Promise<void> {
    const text = 'SELECT id FROM journal WHERE id = $1';
    const pinned = writer >= this.#options.writers + this.#options.readers;
    await this.#read(connection, { generation, pinned }, async () => {
      const rows = random.chance(0.5)
        ? await connection.rows(text, [id], 'find')
        : await connection.rows(text.replace('$1', String(id)));
      if (rows.length === 0) this.doubts.push({ kind: 'own write', client: writer, missing: id, atMs: Date.now() });
    });
  }

  /** Counters never fall. */
  async #watch(connection: Connection, client: number, generation: number, seen: Map<number, number>): Promise<void> {
    await this.#read(connection, { generation, pinned: false }, async () => {
      for (const { writer, id } of await connection.rows<{ writer: number; id: number }>('SELECT * FROM counters')) {
        const before = seen.get(writer) ?? 0;
        if (id < before) this.doubts.push({ kind: 'monotonic', client, missing: before, atMs: Date.now() });
        seen.set(writer, id);
      }
    });
  }

  async #read(
    connection: Connection,
    { generation, pinned }: { readonly generation: number; readonly pinned: boolean },
    read: () => Promise<void>,
  ): Promise<void> {
    try {
      await read();
      this.reads++;
    } catch (error) {
      // a lost connection is counted as such
      await sleep(0);
      if (connection.lost !== null) return;
      const { code, message } = error as pg.DatabaseError;
      // the end of a session, whose socket may close later than the error is read
      if (code === '57P01' && pinned) return;
      this.readErrors.push({ atMs: Date.now(), error: `${code} ${message}`, generation });
    }
  }
}
