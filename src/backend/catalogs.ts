import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Catalog } from '../sql/catalog.ts';
import { CATALOG_QUERY, type CatalogRow } from '../sql/catalog-query.ts';
import { ControlConnection, type ControlTarget } from './control-connection.ts';

type Entry = { catalog: Catalog | null; loadedMs: number; loading: boolean; outdated: boolean; usedMs: number };

/** How old a catalog may be before it is read again, and how soon a failed reading is repeated. */
const REFRESH_MS = 30_000;
const RETRY_MS = 1000;
const READ_TIMEOUT_MS = 10_000;

/**
 * What the primary's catalog says about functions and relations, per database. Read with the control user on first use and again
 * from time to time; until it is there every user function counts as one that may write.
 */
export class Catalogs {
  readonly #cluster: Cluster;
  readonly #target: (node: string, database: string) => ControlTarget;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();

  constructor(cluster: Cluster, target: (node: string, database: string) => ControlTarget, log: Log) {
    this.#cluster = cluster;
    this.#target = target;
    this.#log = log;
  }

  of(database: string): Catalog | null {
    let entry = this.#entries.get(database);
    if (entry === undefined) {
      entry = { catalog: null, loadedMs: Number.NEGATIVE_INFINITY, loading: false, outdated: false, usedMs: 0 };
      this.#entries.set(database, entry);
    }
    const now = nowMs();
    entry.usedMs = now;
    if (!entry.loading && now - entry.loadedMs > REFRESH_MS) void this.#load(database, entry);
    return entry.catalog;
  }

  /** DDL was seen: what is known may be outdated. */
  invalidate(): void {
    for (const entry of this.#entries.values()) {
      entry.loadedMs = Number.NEGATIVE_INFINITY;
      entry.outdated = true;
    }
  }

  /** Databases that are gone, or others of the same name: nothing of what was known holds. */
  forget(which: (database: string) => boolean): void {
    for (const database of [...this.#entries.keys()]) if (which(database)) this.#entries.delete(database);
  }

  async #load(database: string, entry: Entry): Promise<void> {
    const { primary } = this.#cluster.topology.value;
    if (primary === null) return;
    entry.loading = true;
    entry.outdated = false;
    const connection = new ControlConnection(this.#target(primary.name, database), 'fairlead-catalog');
    try {
      entry.catalog = Catalog.from(
        await connection.query<CatalogRow>(CATALOG_QUERY, [], READ_TIMEOUT_MS),
        entry.catalog,
      );
      // DDL that was seen meanwhile may not be in it
      entry.loadedMs = entry.outdated ? Number.NEGATIVE_INFINITY : nowMs();
    } catch (error) {
      // a database the control user may not enter: its functions stay unknown, so whatever calls them runs on the primary
      this.#log.debug({ database, error: messageOf(error) }, 'catalog not read');
      entry.loadedMs = nowMs() - REFRESH_MS + RETRY_MS;
    } finally {
      entry.loading = false;
      connection.close();
    }
  }
}
