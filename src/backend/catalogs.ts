import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Catalog } from '../sql/catalog.ts';
import { CATALOG_QUERY, type CatalogRow } from '../sql/catalog-query.ts';
import { CatalogTables } from '../sql/catalog-tables.ts';
import { TABLES_QUERY } from '../sql/tables-query.ts';
import { ControlConnection, type ControlTarget } from './control-connection.ts';

type Entry = {
  catalog: Catalog | null;
  /** When it is due to be read again, monotonic milliseconds. */
  dueMs: number;
  loading: boolean;
  /** Schema changes that were heard of, and those that are surely in `catalog`. */
  changes: number;
  read: number;
  timer: NodeJS.Timeout | undefined;
  /** How long it waits for changes that the stream has told to become visible; null: it does not. */
  unseenMs: number | null;
};

/** How old a catalog may be before it is read again, and how soon a failed reading is repeated. */
const REFRESH_MS = 30_000;
const RETRY_MS = 1000;
const READ_TIMEOUT_MS = 10_000;
/** A change of the schema that the stream tells is visible to others a moment later; while a transaction from before the stream goes on, it may take long. */
const SHOWS_MS = 50;
const SHOWS_MAX_MS = 5000;
/** Of a schema that changes all the time, so much of the time is spent on reading it at most. */
const READING_SHARE = 0.25;

/**
 * What the primary's catalog says about functions and relations, per database. Read with the control user on first use, when the schema
 * has changed, and from time to time; until it is there every user function counts as one that may do anything.
 */
export class Catalogs {
  readonly #cluster: Cluster;
  readonly #target: (node: string, database: string) => ControlTarget;
  readonly #streamed: (database: string) => boolean;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();

  /** @param streamed true for the database whose changes the logical stream tells */
  constructor(
    cluster: Cluster,
    target: (node: string, database: string) => ControlTarget,
    streamed: (database: string) => boolean,
    log: Log,
  ) {
    this.#cluster = cluster;
    this.#target = target;
    this.#streamed = streamed;
    this.#log = log;
  }

  of(database: string): Catalog | null {
    const entry = this.#entry(database);
    const due = nowMs() >= entry.dueMs || entry.changes > entry.read;
    if (due && !entry.loading && entry.timer === undefined) void this.#load(database, entry);
    return entry.catalog;
  }

  /** DDL was committed there. @returns what `knows` is to be asked for */
  changed(database: string): number {
    const entry = this.#entry(database);
    entry.changes++;
    if (!entry.loading && entry.timer === undefined) void this.#load(database, entry);
    return entry.changes;
  }

  /** DDL was committed in databases that are in use. */
  changedWhere(which: (database: string) => boolean): void {
    for (const database of this.#entries.keys()) if (which(database)) this.changed(database);
  }

  /** True when the catalog was read after that change, or cannot be read at all. */
  knows(database: string, change: number): boolean {
    const entry = this.#entries.get(database);
    return entry === undefined || entry.read >= change;
  }

  /** Databases that are gone, or others of the same name: nothing of what was known holds. */
  forget(which: (database: string) => boolean): void {
    for (const [database, entry] of [...this.#entries]) {
      if (!which(database)) continue;
      clearTimeout(entry.timer);
      this.#entries.delete(database);
    }
  }

  stop(): void {
    this.forget(() => true);
  }

  #entry(database: string): Entry {
    let entry = this.#entries.get(database);
    if (entry === undefined) {
      const dueMs = Number.NEGATIVE_INFINITY;
      entry = { catalog: null, dueMs, loading: false, changes: 0, read: 0, timer: undefined, unseenMs: null };
      this.#entries.set(database, entry);
    }
    return entry;
  }

  async #load(database: string, entry: Entry): Promise<void> {
    const { primary } = this.#cluster.topology.value;
    if (primary === null) return;
    const startedMs = nowMs();
    const { changes } = entry;
    entry.loading = true;
    let shown = true;
    const connection = new ControlConnection(this.#target(primary.name, database), 'fairlead-catalog');
    try {
      const onlyWaits = entry.unseenMs !== null && entry.changes === entry.read;
      shown = !onlyWaits || (await this.#showsNow(connection));
      if (shown) {
        shown = await this.#read(database, entry, connection);
        entry.read = changes;
        entry.dueMs = nowMs() + REFRESH_MS;
      }
    } catch (error) {
      // a database the control user may not enter: its functions stay unknown, so whatever calls them runs on the primary
      this.#log.debug({ database, error: messageOf(error) }, 'catalog not read');
      if (entry.catalog === null) entry.read = changes;
      entry.dueMs = nowMs() + RETRY_MS;
    } finally {
      entry.loading = false;
      connection.close();
    }
    if (shown) entry.unseenMs = null;
    if (this.#entries.get(database) !== entry) return;
    // the schema has changed meanwhile, or could not be read
    if (entry.changes > entry.read) {
      const tookMs = nowMs() - startedMs;
      this.#again(database, entry, entry.read < changes ? RETRY_MS : tookMs / READING_SHARE - tookMs);
    } else if (!shown) {
      entry.unseenMs = entry.unseenMs === null ? SHOWS_MS : Math.min(SHOWS_MAX_MS, entry.unseenMs * 2);
      this.#again(database, entry, entry.unseenMs);
    }
  }

  /** @returns false when the stream has told a change that is not visible yet */
  async #read(database: string, entry: Entry, connection: ControlConnection): Promise<boolean> {
    const rows = await connection.query<CatalogRow>(CATALOG_QUERY, [], READ_TIMEOUT_MS);
    const tables = await this.#tables(database, entry, connection);
    entry.catalog = Catalog.from(rows, entry.catalog, tables);
    return tables === null || this.#judge(entry.catalog, tables);
  }

  async #showsNow(connection: ControlConnection): Promise<boolean> {
    const [row] = await connection.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot');
    return row !== undefined && this.#cluster.freshness.schema.shows(row.snapshot);
  }

  /** Reads what tables statements read, where that is of use, and may have changed since. */
  async #tables(database: string, { catalog }: Entry, connection: ControlConnection): Promise<CatalogTables | null> {
    if (!this.#streamed(database)) return null;
    const known = catalog?.tables ?? null;
    const { schema } = this.#cluster.freshness;
    if (known !== null && schema.live && catalog?.stamp.schemaVersion === schema.version) return known;
    try {
      return new CatalogTables(await connection.query<CatalogRow>(TABLES_QUERY, [], READ_TIMEOUT_MS));
    } catch (error) {
      this.#log.warn(
        { database, error: messageOf(error) },
        'not known which tables statements read: only positions count',
      );
      return null;
    }
  }

  /** Notes what the catalog is known to be the catalog of. @returns false when it is worth to read it again */
  #judge(catalog: Catalog, { instant }: CatalogTables): boolean {
    const { schema } = this.#cluster.freshness;
    if (instant === null || !schema.live) return true;
    if (!schema.shows(instant.snapshot)) return false;
    catalog.stamp.schemaVersion = schema.version;
    catalog.stamp.lsn = instant.lsn;
    return true;
  }

  #again(database: string, entry: Entry, pauseMs: number): void {
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      void this.#load(database, entry);
    }, pauseMs);
    entry.timer.unref();
  }
}
