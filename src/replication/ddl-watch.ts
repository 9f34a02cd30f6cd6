import type { ControlConnection } from '../backend/control-connection.ts';
import type { RecentCommits } from '../cluster/recent-commits.ts';
import { SchemaHistory } from '../cluster/schema-history.ts';
import type { TableFreshness } from '../cluster/table-freshness.ts';
import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { LSN_ZERO, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import { sleep } from '../core/sleep.ts';

/** Rows of a catalog as one text; they are told apart by who wrote them and where they lie. */
const rowsOf = (table: string, where = 'true') =>
  `(SELECT string_agg(x.xmin::text || x.ctid::text, ',' ORDER BY x.ctid) FROM ${table} x WHERE ${where})`;

const TEMPORARY = "(SELECT n.oid FROM pg_namespace n WHERE n.nspname ~ '^pg_(toast_)?temp')";

/** Who may what; of all databases. `pg_authid` is for superusers only, `pg_roles` for everybody. */
const ROLES = [
  "(SELECT string_agg(r::text, ',' ORDER BY r.oid) FROM pg_roles r)",
  rowsOf('pg_auth_members'),
  rowsOf('pg_db_role_setting'),
];

/** What decides which tables a statement reads, temporary objects left out. */
const SCHEMA = [
  // not the whole rows: TRUNCATE and REFRESH write to them
  `(SELECT string_agg(concat_ws(',', x.oid, x.relname, x.relnamespace, x.relowner, x.relam, x.relkind, x.relpersistence, x.relrowsecurity,
      x.relforcerowsecurity, x.relacl), ';' ORDER BY x.oid) FROM pg_class x
    WHERE x.oid >= 16384 AND x.relkind IN ('r', 'p', 'v', 'm', 'f') AND x.relnamespace NOT IN ${TEMPORARY})`,
  rowsOf('pg_proc', 'x.oid >= 16384'),
  rowsOf('pg_type', `x.oid >= 16384 AND x.typnamespace NOT IN ${TEMPORARY}`),
  rowsOf(
    'pg_rewrite',
    `x.ev_class IN (SELECT c.oid FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace NOT IN ${TEMPORARY})`,
  ),
  rowsOf('pg_inherits', `x.inhrelid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace NOT IN ${TEMPORARY})`),
  rowsOf('pg_namespace', `x.oid NOT IN ${TEMPORARY}`),
  rowsOf('pg_constraint', 'x.contypid <> 0'),
  ...['pg_policy', 'pg_operator', 'pg_amop', 'pg_amproc', 'pg_cast', 'pg_aggregate', 'pg_enum', 'pg_event_trigger'].map(
    (table) => rowsOf(table),
  ),
];

const md5Of = (parts: readonly string[]) => `md5(concat_ws('|', ${parts.join(', ')}))`;

/** `xid`: everything that has committed by now has a smaller one. `lsn`: and ended before this. */
const LOOK_SQL = `SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid, pg_current_wal_insert_lsn()::text AS lsn,
  ${md5Of([...SCHEMA, ...ROLES])} AS fingerprint,
  (SELECT count(*) = 2 FROM pg_event_trigger WHERE evtname IN ('fairlead_ddl_end', 'fairlead_sql_drop') AND evtenabled = 'A') AS marked`;

const ROLES_SQL = `SELECT ${md5Of(ROLES)} AS roles, pg_current_wal_insert_lsn()::text AS lsn`;

const SNAPSHOT_SQL = 'SELECT pg_current_snapshot()::text AS snapshot';

/** A commit that is in the stream is visible to others a moment later; while it waits for a synchronous replica it may take long. */
const VISIBLE_MS = 20;
const VISIBLE_MAX_MS = 2000;
/** Between two looks, so that a busy schema is not looked at all the time. */
const PAUSE_MS = 100;
/** Of the time so much is spent on looking, at most. */
const SHARE = 0.2;
/** Where there are no marks, they may be installed later. */
const ASK_AGAIN_MS = 10_000;

type Look = {
  readonly xid: string;
  readonly lsn: string;
  readonly fingerprint: string;
  readonly marked: boolean;
};

/**
 * Whether DDL leaves marks in the stream, and what the commits did that changed something without a mark: ANALYZE and VACUUM most likely. But a role may
 * have been granted, or the event triggers been switched off. Each counts for everything until the catalogs have been looked at.
 */
export class DdlWatch {
  /** DDL leaves marks in the stream after this position; null: it does not, and every commit may have changed everything. */
  markedFrom: Lsn | null = null;
  readonly #connection: ControlConnection;
  readonly #freshness: TableFreshness;
  readonly #recent: RecentCommits;
  readonly #log: Log;
  /** The schema's catalog has to be read again. */
  readonly #changed: () => void;
  #ended = false;
  #looking = false;
  #wanted = false;
  /** Of the catalogs when they were looked at last; null: marked DDL has changed them since. */
  #fingerprint: string | null = null;
  #marks = 0;
  #roles: string | null = null;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** Commits that have not been looked into. */
  #doubtful = afresh();
  #newest: Lsn = LSN_ZERO;

  constructor(
    connection: ControlConnection,
    { freshness, recent }: { readonly freshness: TableFreshness; readonly recent: RecentCommits },
    log: Log,
    changed: () => void,
  ) {
    this.#connection = connection;
    this.#freshness = freshness;
    this.#recent = recent;
    this.#log = log;
    this.#changed = changed;
  }

  stop(): void {
    this.#ended = true;
  }

  /** A commit has changed what nothing tells. @param xid 32 bits */
  untold(endLsn: Lsn, xid: number): void {
    if (this.markedFrom === null) return;
    this.#freshness.doubt(endLsn);
    this.#doubtful.changed(xid);
    this.#newest = maxLsn(this.#newest, endLsn);
    this.look();
  }

  /** A commit has left a mark: the catalogs differ, and everybody knows. */
  marked(): void {
    this.#marks++;
    this.#fingerprint = null;
    this.look();
  }

  /** Looks at the primary's catalogs, now or after the look that is under way. */
  look(): void {
    this.#wanted = true;
    if (this.#looking) return;
    this.#looking = true;
    void this.#lookAll().finally(() => {
      this.#looking = false;
    });
  }

  /** From time to time. Roles are shared: what another database changed there is in no stream of this one. */
  async tick(atMs: number): Promise<void> {
    if (this.#ended) return;
    if (this.markedFrom === null) {
      if (atMs - this.#askedMs > ASK_AGAIN_MS) this.look();
      return;
    }
    if (this.#looking) return;
    try {
      const [row] = await this.#connection.query<{ roles: string; lsn: string }>(ROLES_SQL);
      if (row === undefined || this.#ended) return;
      if (this.#roles !== null && this.#roles !== row.roles) this.#freshness.touchAll(parseLsn(row.lsn));
      this.#roles = row.roles;
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'roles not looked at');
    }
  }

  async #lookAll(): Promise<void> {
    let unseenMs = VISIBLE_MS;
    while (this.#wanted && !this.#ended) {
      this.#wanted = false;
      const startedMs = nowMs();
      try {
        const [now] = await this.#connection.query<{ snapshot: string }>(SNAPSHOT_SQL);
        if (now === undefined || this.#ended) return;
        if (!this.#doubtful.shows(now.snapshot)) {
          this.#wanted = true;
          await sleep(unseenMs);
          unseenMs = Math.min(VISIBLE_MAX_MS, unseenMs * 2);
          continue;
        }
        unseenMs = VISIBLE_MS;
        const [newest, marks] = [this.#newest, this.#marks];
        // what is heard of from now on is for the look after this one
        this.#doubtful = afresh();
        this.#newest = LSN_ZERO;
        const [look] = await this.#connection.query<Look>(LOOK_SQL);
        if (look === undefined || this.#ended) return;
        this.#saw(look, newest, marks);
      } catch (error) {
        // whatever was in doubt stays so, until a later look finds that nothing has changed since the last
        this.#log.debug({ error: messageOf(error) }, 'not known whether DDL leaves marks');
        return;
      } finally {
        this.#askedMs = nowMs();
      }
      await sleep(Math.max(PAUSE_MS, (nowMs() - startedMs) / SHARE));
    }
  }

  #saw({ xid, lsn, fingerprint, marked }: Look, newest: Lsn, marks: number): void {
    const known = this.#fingerprint;
    // marked DDL that came meanwhile may be in it, or not
    this.#fingerprint = this.#marks === marks ? fingerprint : null;
    if (!marked) {
      if (this.markedFrom !== null) this.#freshness.touchAll(parseLsn(lsn));
      this.markedFrom = null;
      return;
    }
    // what would be compared with a catalog from before marked DDL tells nothing
    const doubted = newest > LSN_ZERO && this.markedFrom !== null;
    const changed = known === null ? doubted : known !== fingerprint;
    if (newest > LSN_ZERO) {
      this.#freshness.clearDoubt(newest, changed);
      if (changed) this.#recent.suspect(newest);
    }
    if (changed) this.#freshness.touchAll(parseLsn(lsn));
    if (this.markedFrom !== null && !changed) return;
    if (!this.#freshness.schemaStartedBefore(BigInt(xid))) {
      this.#wanted = true;
      return;
    }
    this.markedFrom ??= parseLsn(lsn);
    this.#changed();
  }
}

/** No transaction in doubt. */
function afresh(): SchemaHistory {
  const history = new SchemaHistory();
  history.startedBefore(0n);
  return history;
}
