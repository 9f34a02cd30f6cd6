import { treeFunctions } from './catalog-query.ts';

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/**
 * Functions of pg_catalog that are not immutable and still tell nothing that could change in a table, or without DDL: they depend on the
 * clock, on settings of the session, or on catalogs that only DDL changes. All others that are not immutable are opaque.
 */
const TELLS_NO_TABLE = words(`
  age anytextcat array_sample array_shuffle array_to_json array_to_string bpcharsend clock_timestamp concat concat_ws convert convert_from
  convert_to current_database current_query current_schema current_schemas current_setting current_user date date_add
  date_cmp_timestamptz date_eq_timestamptz date_ge_timestamptz date_gt_timestamptz date_le_timestamptz date_lt_timestamptz
  date_ne_timestamptz date_part date_subtract date_trunc enum_first enum_last enum_range extract format gen_random_uuid generate_series
  get_current_ts_config getdatabaseencoding in_range inet_client_addr inet_client_port inet_server_addr inet_server_port
  interval_pl_timestamptz json_agg json_agg_strict json_build_array json_build_object json_object_agg json_object_agg_strict
  json_object_agg_unique json_object_agg_unique_strict json_populate_record json_populate_recordset json_to_record json_to_recordset
  json_to_tsvector jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_object_agg_strict
  jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz
  jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_record_valid jsonb_populate_recordset
  jsonb_to_record jsonb_to_recordset jsonb_to_tsvector length make_timestamptz money now numeric overlaps pg_client_encoding
  pg_column_size pg_sleep pg_sleep_for pg_sleep_until pg_typeof phraseto_tsquery plainto_tsquery quote_literal
  quote_nullable random random_normal row_to_json session_user statement_timestamp textanycat textsend time timeofday timestamp
  timestamp_cmp_timestamptz timestamp_eq_timestamptz timestamp_ge_timestamptz timestamp_gt_timestamptz timestamp_le_timestamptz
  timestamp_lt_timestamptz timestamp_ne_timestamptz timestamptz timestamptz_cmp_date timestamptz_cmp_timestamp timestamptz_eq_date
  timestamptz_eq_timestamp timestamptz_ge_date timestamptz_ge_timestamp timestamptz_gt_date timestamptz_gt_timestamp
  timestamptz_le_date timestamptz_le_timestamp timestamptz_lt_date timestamptz_lt_timestamp timestamptz_mi_interval
  timestamptz_ne_date timestamptz_ne_timestamp timestamptz_pl_interval timetz timezone to_char to_date to_json to_jsonb to_number
  to_timestamp to_tsquery to_tsvector transaction_timestamp ts_headline ts_match_tq ts_match_tt uuidv4 uuidv7 varcharsend version
  websearch_to_tsquery xml xml_is_well_formed`);

/** Of the trees of one object: tables they read, functions of users' that they call, what nobody can look into. `t` is an array of texts. */
const ofTrees = (trees: string): string => `
         'reads', ARRAY(SELECT DISTINCT m[1]::oid::int8 FROM unnest(${trees}) t, regexp_matches(t, ':relid (\\d+)', 'g') m),
         'calls', ARRAY(SELECT DISTINCT f.fn::int8 FROM unnest(${trees}) t, LATERAL (${treeFunctions('t')}) f
                        JOIN shady s ON s.oid = f.fn WHERE NOT s.builtin),
         'opaque', coalesce(
                   (SELECT min('calls ' || s.name) FROM unnest(${trees}) t, LATERAL (${treeFunctions('t')}) f
                    JOIN shady s ON s.oid = f.fn WHERE s.builtin),
                   (SELECT 'tells where rows are' FROM unnest(${trees}) t WHERE t ~ ':varattno -[1-5] ' LIMIT 1),
                   (SELECT 'casts to a domain' FROM unnest(${trees}) t WHERE t ~ '{COERCETODOMAIN ' AND EXISTS (SELECT FROM checked) LIMIT 1)),
         'clock', (SELECT bool_or(t ~ ':funcid (1299|2647) |SQLVALUEFUNCTION') FROM unnest(${trees}) t)`;

const calls = (tree: string): string => `EXISTS (SELECT FROM (${treeFunctions(tree)}) f JOIN shady s ON s.oid = f.fn)`;

/**
 * What a read may read besides the tables it names, in one statement; the companion of `CATALOG_QUERY`. PostgreSQL 13 to 18; any role may
 * run it.
 *
 * - `now`: a position that everything in the answer lies below, and the snapshot it was taken with.
 * - `system`: names of the relations that initdb made.
 * - `table`: tables, views and materialized views that users made; `reads`, `calls`, `opaque` of a view's rule, of row security policies;
 *   `clock`: they call `now()`, `transaction_timestamp()` or the like.
 * - `function`: those of users' that are neither C nor immutable, with the text of a body in SQL; what defaults of parameters call; functions of an
 *   extension that has tables of its own, such as PostGIS's `spatial_ref_sys`: they may read them.
 * - `builtins`: names of pg_catalog's functions that are opaque.
 * - `operator`, `cast`: names behind which is a function of users' as above: domains with a CHECK that calls one, and types made of those, too.
 * - `hazard`: such a function is called where no text tells: by an implicit cast, an operator that PostgreSQL takes by itself (btree and hash). Then
 *   nobody knows what any statement reads.
 *
 * Partitions and inheritance are not asked for: the stream tells a change of a child as one of its parents too.
 */
export const TABLES_QUERY = `
WITH member AS MATERIALIZED (
  SELECT d.classid, d.objid, d.refobjid FROM pg_depend d
  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), own AS MATERIALIZED (
  SELECT m.refobjid, array_agg(c.oid) AS tables FROM member m JOIN pg_class c ON c.oid = m.objid AND c.relkind IN ('r', 'p', 'm')
  WHERE m.classid = 'pg_class'::regclass GROUP BY m.refobjid
), candidate AS MATERIALIZED (
  SELECT p.oid, p.proname::text AS name, p.pronamespace, n.nspname = 'pg_catalog' AND p.oid < 16384 AS builtin, p.proname, p.provolatile,
         l.lanname = 'sql' AND p.prokind IN ('f', 'w') AS is_sql,
         l.lanname IN ('c', 'internal') AND p.prokind IN ('f', 'w')
           AND (p.provolatile = 'i' OR p.provolatile = 's' AND m.objid IS NOT NULL AND o.tables IS NULL) AS pure,
         p.prosrc, to_jsonb(p)->>'prosqlbody' AS body, p.proargdefaults::text AS defaults, o.tables
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
       LEFT JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid LEFT JOIN own o ON o.refobjid = m.refobjid
  WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
), shady AS MATERIALIZED (
  SELECT * FROM candidate WHERE CASE
    WHEN builtin THEN provolatile <> 'i' AND NOT proname = ANY ('{${TELLS_NO_TABLE.join(',')}}'::name[])
    ELSE NOT pure OR defaults IS NOT NULL OR tables IS NOT NULL END
), checked AS MATERIALIZED (
  WITH RECURSIVE of_type (oid) AS (
    SELECT c.contypid FROM pg_constraint c WHERE c.contypid >= 16384 AND ${calls('c.conbin::text')}
    UNION SELECT x.oid FROM of_type o, LATERAL (
      SELECT t.oid FROM pg_type t WHERE t.typbasetype = o.oid OR t.typelem = o.oid
      UNION ALL SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.atttypid = o.oid AND a.attnum > 0) x
  ) SELECT oid FROM of_type
), policy AS MATERIALIZED (
  SELECT p.polrelid, array_agg(p.polqual::text) AS trees FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
  WHERE p.polcmd IN ('r', '*') GROUP BY p.polrelid
), rule AS MATERIALIZED (
  SELECT r.ev_class, array_agg(r.ev_action::text) AS trees FROM pg_rewrite r WHERE r.ev_type = '1' AND r.ev_class >= 16384
  GROUP BY r.ev_class
), elsewhere AS (
  WITH RECURSIVE up (oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname <> 'heap' WHERE c.relkind IN ('r', 'm')
    UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON up.oid = i.inhrelid
  ) SELECT oid FROM up
)
SELECT 'now' AS kind, NULL::text AS schema, '' AS name, json_build_object(
         'lsn', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END,
         'snapshot', pg_current_snapshot()::text) AS info
UNION ALL
SELECT 'system', NULL, '', json_build_object('names', ARRAY(SELECT DISTINCT relname::text FROM pg_class WHERE oid < 16384 ORDER BY 1))
UNION ALL
SELECT 'table', n.nspname, c.relname, CASE
         WHEN c.relkind IN ('f', 'S') THEN json_build_object('oid', c.oid::int8, 'opaque', 'is not in the stream')
         WHEN c.oid IN (SELECT e.oid FROM elsewhere e) THEN json_build_object('oid', c.oid::int8, 'opaque', 'is no heap')
         WHEN r.trees IS NULL AND p.trees IS NULL THEN json_build_object('oid', c.oid::int8)
         ELSE json_build_object('oid', c.oid::int8, ${ofTrees('(r.trees || p.trees)')}) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN policy p ON p.polrelid = c.oid LEFT JOIN rule r ON r.ev_class = c.oid AND c.relkind = 'v'
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast'
UNION ALL
SELECT 'function', n.nspname, s.name, CASE
         WHEN NOT s.pure AND NOT s.is_sql THEN json_build_object('oid', s.oid::int8, 'opaque', 'is not written in SQL')
         ELSE json_build_object('oid', s.oid::int8, 'own', s.tables::int8[],
                'text', CASE WHEN s.is_sql AND s.body IS NULL THEN s.prosrc END,
                ${ofTrees('array_remove(ARRAY[s.body, s.defaults], NULL)')}) END
FROM shady s JOIN pg_namespace n ON n.oid = s.pronamespace WHERE NOT s.builtin
UNION ALL
SELECT 'builtins', NULL, '', json_build_object('names', ARRAY(SELECT DISTINCT name FROM shady WHERE builtin ORDER BY 1))
UNION ALL
SELECT 'operator', NULL, o.name, NULL
FROM (SELECT DISTINCT o.oprname::text AS name FROM pg_operator o JOIN shady s ON s.oid = o.oprcode WHERE NOT s.builtin AND NOT s.pure) o
UNION ALL
SELECT 'cast', NULL, t.name, NULL
FROM (SELECT DISTINCT t.typname::text AS name FROM pg_cast c JOIN shady s ON s.oid = c.castfunc AND NOT s.builtin AND NOT s.pure
      JOIN pg_type t ON t.oid = c.casttarget
      UNION SELECT t.typname::text FROM checked d JOIN pg_type t ON t.oid = d.oid) t
UNION ALL
SELECT 'hazard', NULL, h.why, NULL FROM (
  SELECT 'there is an implicit cast to ' || t.typname AS why FROM pg_cast c JOIN shady s ON s.oid = c.castfunc AND NOT s.builtin AND NOT s.pure
    JOIN pg_type t ON t.oid = c.casttarget WHERE c.castcontext <> 'e'
  UNION SELECT 'there is operator ' || o.oprname FROM pg_operator o JOIN shady s ON s.oid = o.oprcode AND NOT s.builtin AND NOT s.pure
    WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '~~', '!~~', '~~*', '!~~*') OR o.oid IN (SELECT amopopr FROM pg_amop WHERE amopmethod IN (403, 405))
  UNION SELECT 'there is operator class ' || c.opcname FROM pg_amproc a JOIN shady s ON s.oid = a.amproc AND NOT s.builtin AND NOT s.pure
    JOIN pg_opclass c ON c.opcfamily = a.amprocfamily AND c.opcmethod IN (403, 405)
) h
`;
