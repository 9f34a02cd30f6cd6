/** Sessions that write and read over and over, and note everything for the checker. */
import type pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { Connection } from './connection.ts';
import type { Operation, Read, Write } from './history.ts';
import { randomFrom } from './random.ts';

export const TABLES = ['history_0', 'history_1', 'history_2'] as const;

/** SQLSTATEs after which a write may have happened. */
const UNKNOWN = new Set(['08007', '40003']);
const PAUSE_MS = 1;

export type Historian = {
  /** What the session asks for. */
  readonly consistency: Read['level'];
  /** What it is held to: what it asks for, unless a router is played that does not look at positions. */
  readonly level: Read['level'];
  readonly writes: boolean;
};

type Row = { readonly t: number; readonly writer: number; readonly value: number };

export class Historians {
  /** Those of each session in the order in which it did them. */
  readonly operations: Operation[] = [];
  /** What reads failed with. */
  readonly readErrors: string[] = [];
  readonly #url: string;
  readonly #random = randomFrom(Number(process.env.FAIRLEAD_SEED ?? 11));
  readonly #running: Promise<unknown>;
  #stopping = false;

  private constructor(url: string, historians: readonly Historian[]) {
    this.#url = url;
    this.#running = Promise.all(historians.map((historian, session) => this.#run(historian, session)));
    this.#running.catch(() => {});
  }

  /** Makes the tables, and starts. */
  static async start(url: string, historians: readonly Historian[]): Promise<Historians> {
    const connection = await Connection.open(url);
    for (const table of TABLES) {
      await connection.rows(`CREATE TABLE ${table} (writer int PRIMARY KEY, value int NOT NULL)`);
      await connection.rows(`INSERT INTO ${table} SELECT i, 0 FROM generate_series(0, ${historians.length - 1}) i`);
    }
    await connection.close();
    return new Historians(url, historians);
  }

  get reads(): number {
    return this.operations.filter(({ kind }) => kind === 'read').length;
  }

  get acknowledged(): number {
    return this.operations.filter((one) => one.kind === 'write' && one.outcome === 'ok').length;
  }

  /** @throws what a session could not go on after */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #run(historian: Historian, session: number): Promise<void> {
    let connection: Connection | null = null;
    let value = 0;
    while (!this.#stopping) {
      // whoever is told that the session is lost connects again, and is the same to the checker
      if (connection === null || connection.lost !== null) connection = await this.#connect(historian);
      if (historian.writes) {
        value++;
        for (let table = 0; table < TABLES.length && !this.#stopping; table++) {
          const { outcome } = await this.#write(connection, session, table, value);
          if (outcome !== 'ok') break;
          if (this.#random.int(2) === 0) await this.#read(connection, historian, session);
        }
      }
      await this.#read(connection, historian, session);
      await sleep(PAUSE_MS);
    }
    await connection?.close();
  }

  async #connect({ consistency }: Historian): Promise<Connection> {
    for (;;) {
      try {
        return await Connection.open(this.#url, { options: `-c fairlead.consistency=${consistency}` });
      } catch (error) {
        if (this.#stopping) throw error;
        await sleep(50);
      }
    }
  }

  async #write(connection: Connection, session: number, table: number, value: number): Promise<Write> {
    // one whose outcome was unknown may come late: it must not undo a later one
    const text = `UPDATE ${TABLES[table]} SET value = greatest(value, $1) WHERE writer = $2`;
    const startedMs = performance.now();
    let outcome: Write['outcome'] = 'ok';
    let committing = this.#random.int(4) > 0;
    try {
      if (committing)
        await connection.rows(text, [value, session], this.#random.int(2) === 0 ? `w${table}` : undefined);
      else {
        await connection.rows('BEGIN');
        await connection.rows(text, [value, session]);
        committing = true;
        await connection.rows('COMMIT');
      }
    } catch (error) {
      const code = (error as pg.DatabaseError).code ?? '';
      outcome = committing && (UNKNOWN.has(code) || connection.lost !== null) ? 'unknown' : 'failed';
      if (connection.lost === null) await connection.rows('ROLLBACK').catch(() => {});
    }
    const write: Write = { kind: 'write', session, table, value, startedMs, endedMs: performance.now(), outcome };
    this.operations.push(write);
    return write;
  }

  async #read(connection: Connection, { level }: Historian, session: number): Promise<void> {
    if (connection.lost !== null) return;
    const which = this.#random.int(TABLES.length + 1);
    const tables = which === TABLES.length ? TABLES.keys() : [which];
    const parts = [...tables].map((table) => `SELECT ${table} AS t, writer, value FROM ${TABLES[table]}`);
    const startedMs = performance.now();
    try {
      const way = this.#random.int(3);
      const rows = await connection.rows<Row>(
        parts.join(' UNION ALL '),
        way === 0 ? undefined : [],
        way === 1 ? `r${which}` : undefined,
      );
      const seen = new Map<number, Map<number, number>>();
      for (const { t, writer, value } of rows) {
        const counts = seen.get(t) ?? new Map<number, number>();
        seen.set(t, counts.set(writer, value));
      }
      this.operations.push({ kind: 'read', session, level, startedMs, endedMs: performance.now(), seen });
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      if (connection.lost === null) this.readErrors.push(`${code} ${message}`);
    }
  }
}
