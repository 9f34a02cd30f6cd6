/**
 * What a logical subscriber, and the primary it gets its tables from, are asked. PostgreSQL 13 to 18; columns that came later are asked for by
 * version.
 */

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The database that this session is in. */
const HERE = '(SELECT d.oid FROM pg_database d WHERE d.datname = current_database())';

/**
 * The apply worker (`subscription:pid`), what it has applied, and what may be visible already.
 *
 * Applied is `latest_end_lsn`: the position of the last keepalive that the worker has dealt with. It deals with messages one after the
 * other (LogicalRepApplyLoop in worker.c), and the primary sends a commit before a keepalive that names a later position; so all
 * commits below it are applied, and visible. The progress of the origin is not good for that: RecordTransactionCommit moves it before the commit
 * is visible to others, by as long as it waits for the disk or a synchronous standby. For the same reason nothing beyond it is visible: it
 * bounds what a read may have seen. Asked to, it flushes what was applied: a crash takes nothing back (`synchronous_commit` is off in apply workers);
 * the columns of the row are computed after the function scan below has told the position.
 */
export function positionSql(subscription: string): string {
  return `SELECT s.oid || ':' || w.pid, coalesce(w.latest_end_lsn, '0/0'),
  CASE WHEN s.oid IS NOT NULL THEN coalesce(pg_replication_origin_progress('pg_' || s.oid, true), '0/0') END
FROM (SELECT 1) one LEFT JOIN pg_subscription s ON s.subname = ${quoted(subscription)} AND s.subdbid = ${HERE}
  LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL AND to_jsonb(w)->>'leader_pid' IS NULL`;
}

/** What makes values, names and their order come out differently: equal on both sides, or no read runs there. */
const SURROUNDINGS = `md5(concat_ws(E'\\n',
  (SELECT concat_ws(' ', pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, coalesce(to_jsonb(d)->>'datlocprovider', 'c'),
     coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale')) FROM pg_database d WHERE d.datname = current_database()),
  (SELECT string_agg(concat_ws(' ', r.rolname, s.setdatabase <> 0, s.setconfig), ',' ORDER BY r.rolname, s.setdatabase)
     FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase IN (0, ${HERE})),
  (SELECT string_agg(name || '=' || reset_val, ',' ORDER BY name) FROM pg_settings WHERE name IN ('search_path', 'TimeZone', 'DateStyle',
     'IntervalStyle', 'bytea_output', 'extra_float_digits', 'default_text_search_config', 'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time',
     'standard_conforming_strings', 'transform_null_equals', 'array_nulls', 'xmlbinary', 'xmloption', 'timezone_abbreviations')),
  (SELECT string_agg(concat_ws(' ', o.oprname, o.oprleft, o.oprright), ',' ORDER BY o.oprname, o.oprleft, o.oprright) FROM pg_operator o
     WHERE o.oid >= 16384 AND o.oprleft < 16384 AND o.oprright < 16384),
  (SELECT string_agg(concat_ws(' ', c.castsource, c.casttarget), ',' ORDER BY c.castsource, c.casttarget) FROM pg_cast c
     WHERE c.oid >= 16384 AND c.castsource < 16384 AND c.casttarget < 16384)))`;

/** Of relation `c`: null when it is of a kind that a subscriber may show differently; else names, types and privileges in a few bytes. */
const definition = `CASE WHEN c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relrowsecurity AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid))
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND (a.atttypid >= 16384 OR a.attgenerated <> ''))
  THEN (SELECT md5(string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), co.collname, a.attacl), E'\\n'
          ORDER BY a.attnum)) FROM pg_attribute a LEFT JOIN pg_collation co ON co.oid = a.attcollation
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    || md5((SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) x)) END`;

export type SubscriberRow = {
  readonly in_recovery: boolean;
  readonly system_id: string;
  readonly clock_ms: number;
  readonly wal_level: string;
  readonly subscription: string | null;
  readonly enabled: boolean;
  readonly slot: string | null;
  readonly publications: readonly string[];
  readonly any_origin: boolean;
  readonly skips: boolean;
  readonly streams: string;
  readonly surroundings: string;
  readonly tables: readonly SubscribedTable[];
};

export type SubscribedTable = {
  readonly schema: string;
  readonly name: string;
  readonly state: string;
  /** Where it was copied; null: it was not. */
  readonly copied: string | null;
  /** Nothing else in the database has its name. */
  readonly only: boolean;
  readonly definition: string | null;
};

/** About the server, the subscription and the tables of it. */
export function subscriberSql(subscription: string, version: number): string {
  return `SELECT pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
  extract(epoch FROM clock_timestamp())::float8 * 1000 AS clock_ms, current_setting('wal_level') AS wal_level,
  s.oid::text AS subscription, coalesce(s.subenabled, false) AS enabled, s.subslotname::text AS slot, s.subpublications AS publications,
  ${version >= 160_000 ? "coalesce(s.suborigin = 'any', true)" : 'true'} AS any_origin,
  ${version >= 150_000 ? "coalesce(s.subskiplsn <> '0/0', false)" : 'false'} AS skips,
  ${version >= 140_000 ? 's.substream::text' : "'false'"} AS streams, ${SURROUNDINGS} AS surroundings,
  (SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'state', r.srsubstate, 'copied', r.srsublsn,
     'only', NOT EXISTS (SELECT FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace WHERE o.relname = c.relname AND o.oid <> c.oid
       AND m.nspname !~ '^pg_(toast|temp)' AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')), 'definition', ${definition})), '[]')
   FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE r.srsubid = s.oid) AS tables
FROM (SELECT 1) one LEFT JOIN pg_subscription s ON s.subname = ${quoted(subscription)} AND s.subdbid = ${HERE}`;
}

export type PublisherRow = {
  readonly timeline: number;
  readonly lsn: string;
  readonly snapshot: string;
  /** Somebody receives from the subscription's slot; null: there is no such slot. */
  readonly active: boolean | null;
  readonly confirmed: string | null;
  readonly surroundings: string;
  readonly tables: readonly PublishedTable[];
};

export type PublishedTable = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** All rows, all columns, all that happens to them. */
  readonly whole: boolean;
  readonly definition: string | null;
};

/** About the slot $1 and what the publications $2 publish. Fails in recovery. */
export function publisherSql(version: number): string {
  const limited = version >= 150_000 ? 'r.prqual IS NOT NULL OR r.prattrs IS NOT NULL' : 'false';
  return `WITH publication AS (SELECT * FROM pg_publication WHERE pubname = ANY ($2::text[])), published AS (
  SELECT t.schemaname, t.tablename, bool_or(p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate) AS complete
  FROM pg_publication_tables t JOIN publication p ON p.pubname = t.pubname GROUP BY 1, 2)
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int AS timeline, pg_current_wal_insert_lsn()::text AS lsn,
  pg_current_snapshot()::text AS snapshot, k.active, k.confirmed_flush_lsn::text AS confirmed, ${SURROUNDINGS} AS surroundings,
  (SELECT coalesce(json_agg(json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'definition', ${definition},
     'whole', p.complete AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN publication q ON q.oid = r.prpubid
        WHERE r.prrelid = c.oid AND (${limited})))), '[]')
   FROM published p JOIN pg_namespace n ON n.nspname = p.schemaname JOIN pg_class c ON c.relname = p.tablename AND c.relnamespace = n.oid) AS tables
FROM (SELECT 1) one LEFT JOIN pg_replication_slots k ON k.slot_name = $1 AND k.plugin = 'pgoutput' AND k.database = current_database()`;
}
