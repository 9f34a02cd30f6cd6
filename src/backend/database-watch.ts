import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sleep } from '../core/sleep.ts';
import type { AnyNode } from './any-node.ts';

/** What the watch does to whoever has to do with a database. Names as servers have them. */
export type DatabaseHolders = {
  /** Databases with server connections. */
  names(): readonly string[];
  /** Closes idle connections to it. */
  vacate(database: string): void;
  /** It was dropped or renamed, or is another one of the same name (`replaced`): what is known of it is of no use. */
  gone(database: string, replaced: boolean): void;
};

/**
 * DROP DATABASE, ALTER DATABASE … RENAME and CREATE DATABASE … TEMPLATE wait five seconds for other connections to the database to end, and
 * hold a lock on it meanwhile (`CountOtherDBBackends`). Nothing else takes these locks on a database.
 */
const WATCH_SQL = `SELECT d.datname AS name, d.oid::text AS oid, d.oid IN (SELECT l.objid FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
      AND l.mode IN ('AccessExclusiveLock', 'ShareLock')) AS wanted
  FROM pg_catalog.pg_database d WHERE d.datname = ANY($1)`;

const LOOK_MS = 1000;
const HURRIED_MS = 50;
/** As long as servers wait. */
const HURRY_MS = 5000;

type Row = { readonly name: string; readonly oid: string; readonly wanted: boolean };

/** Our idle server connections keep nobody from dropping a database, and what is known of one that was dropped goes with it. */
export class DatabaseWatch {
  readonly #node: AnyNode;
  readonly #holders: DatabaseHolders;
  readonly #log: Log;
  readonly #oids = new Map<string, string>();
  #hurryUntilMs = 0;
  #pause = new AbortController();
  #stopped = false;

  constructor(node: AnyNode, holders: DatabaseHolders, log: Log) {
    this.#node = node;
    this.#holders = holders;
    this.#log = log;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#pause.abort();
  }

  /** A statement is sent that needs these databases to itself, and perhaps one that its text does not tell. */
  expect(databases: readonly string[]): void {
    for (const database of databases) this.#holders.vacate(database);
    this.#hurryUntilMs = nowMs() + HURRY_MS;
    this.#pause.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#pause = new AbortController();
      await sleep(nowMs() < this.#hurryUntilMs ? HURRIED_MS : LOOK_MS, this.#pause.signal);
      if (this.#stopped) return;
      await this.#look().catch((error) => this.#log.debug({ error: messageOf(error) }, 'databases not looked at'));
    }
  }

  async #look(): Promise<void> {
    const names = [...new Set([...this.#holders.names(), ...this.#oids.keys()])];
    if (names.length === 0) return;
    const rows = await this.#node.query<Row>(WATCH_SQL, [names], true);
    const found = new Map(rows.map((row) => [row.name, row]));
    for (const name of names) {
      const row = found.get(name);
      const before = this.#oids.get(name);
      if (before !== undefined && row?.oid !== before) {
        this.#log.info({ database: name }, row === undefined ? 'database dropped' : 'database replaced');
        this.#holders.gone(name, row !== undefined);
      }
      if (row === undefined) this.#oids.delete(name);
      else this.#oids.set(name, row.oid);
      if (row?.wanted) this.#holders.vacate(name);
    }
  }
}
