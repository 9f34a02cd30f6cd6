import { BODY_PATTERNS, BODY_SETTING_NAME, PRIMARY_ONLY, PRIMARY_ONLY_PREFIXES, SAFE_VOLATILE } from './builtins.ts';

/** One row of `CATALOG_QUERY`. `info` is JSON, as an object or as text. */
export type CatalogRow = {
  readonly kind: string;
  readonly schema: string | null;
  readonly name: string;
  readonly info: unknown;
};

/** FirstNormalObjectId: what initdb made has smaller oids, whatever its schema. */
const FIRST_USER_OID = 16384;

const list = (names: Iterable<string>): string => `'{${[...names].join(',')}}'::text[]`;
const regex = (pattern: string): string => `'${pattern.replaceAll('\\b', '\\y').replaceAll("'", "''")}'`;

const effects = Object.entries(BODY_PATTERNS)
  .map(([name, pattern]) => `CASE WHEN body ~* ${regex(pattern)} THEN '${name}' END`)
  .join(',\n        ');

const primaryOnlyPrefixes = PRIMARY_ONLY_PREFIXES.map((prefix) => `starts_with(f.name, '${prefix}')`).join(' OR ');

/** Oids of the functions and of the operators' functions in a stored expression tree. */
export const treeFunctions = (tree: string): string =>
  `SELECT DISTINCT m[1]::oid AS fn FROM regexp_matches(${tree}, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') m`;

/**
 * Everything the classifier asks of the primary's catalog, in one statement. PostgreSQL 13 to 18; any role may run it.
 *
 * - `builtins`: names of pg_catalog's functions, volatile in at least one overload, and the others.
 * - `function`: each function, procedure, aggregate that users or extensions made, with what its body may leave behind.
 * - `relation`: what must not be read on a replica and why; views with what they reach.
 * - `operator`, `cast`: those whose function must not run on a replica.
 *
 * Functions are looked up in stored trees by oid, so a view is judged by the very overload it calls. Dependencies in
 * pg_depend would not do: they leave out pg_catalog's functions. Temporary tables are not asked for: they come and go, and
 * a session that has one is pinned.
 */
export const CATALOG_QUERY = `
WITH volatile_aggregate AS MATERIALIZED (
  SELECT DISTINCT a.aggfnoid::oid AS oid
  FROM pg_aggregate a JOIN pg_proc s ON s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
    a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
  WHERE s.provolatile = 'v' AND a.aggfnoid >= ${FIRST_USER_OID}
), body AS MATERIALIZED (
  SELECT p.oid, coalesce(p.prosrc, '') || ' ' || coalesce((
           SELECT string_agg(b.proname, ' ') FROM (${treeFunctions("(to_jsonb(p)->>'prosqlbody')")}) t
           JOIN pg_proc b ON b.oid = t.fn), '') AS body
  FROM pg_proc p WHERE p.oid >= ${FIRST_USER_OID}
), effect AS MATERIALIZED (
  SELECT oid, body, array_remove(ARRAY[
        ${effects}], NULL) AS effects
  FROM body
), fn AS MATERIALIZED (
  SELECT p.oid, n.nspname::text AS schema, p.proname::text AS name, p.pronargs, p.pronargdefaults, p.provariadic,
         p.proargtypes, p.oid < ${FIRST_USER_OID} AS builtin, e.body, coalesce(e.effects, '{}') AS effects,
         p.provolatile = 'v' OR p.oid IN (SELECT v.oid FROM volatile_aggregate v) AS volatile
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN effect e ON e.oid = p.oid
  WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
), unsafe AS MATERIALIZED (
  SELECT f.oid, f.name FROM fn f
  WHERE CASE WHEN f.builtin THEN (f.volatile OR f.name = ANY (${list(PRIMARY_ONLY)}) OR ${primaryOnlyPrefixes})
                                 AND NOT f.name = ANY (${list(SAFE_VOLATILE)})
             ELSE f.volatile OR f.effects <> '{}' END
), flawed (oid, why) AS (
  SELECT c.oid, CASE WHEN c.relkind = 'S' THEN 'sequence' WHEN c.relkind = 'f' THEN 'foreign table'
                     ELSE 'unlogged table' END
  FROM pg_class c
  WHERE c.relkind IN ('r', 'p', 'm', 'f', 'S') AND c.relpersistence <> 't'
    AND (c.relkind IN ('S', 'f') OR c.relpersistence = 'u')
  UNION ALL
  SELECT p.polrelid, 'row security policy that calls ' || min(u.name)
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity,
       LATERAL (${treeFunctions('p.polqual::text')}) t JOIN unsafe u ON u.oid = t.fn
  WHERE p.polcmd IN ('r', '*') GROUP BY p.polrelid
), inherited AS (
  WITH RECURSIVE up (oid, why) AS (
    SELECT oid, why FROM flawed
    UNION
    SELECT i.inhparent, up.why FROM pg_inherits i JOIN up ON up.oid = i.inhrelid
  ) SELECT oid, min(why) AS why FROM up GROUP BY oid
)
SELECT 'builtins' AS kind, NULL::text AS schema, '' AS name, json_build_object(
         'volatile', string_agg(DISTINCT f.name, ' ') FILTER (WHERE f.volatile),
         'all', string_agg(DISTINCT f.name, ' ')) AS info
FROM fn f WHERE f.builtin
UNION ALL
SELECT 'function', f.schema, f.name, json_build_object(
         'types', ARRAY(SELECT format_type(a.t, NULL) FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY a (t, i) ORDER BY a.i),
         'min', f.pronargs - f.pronargdefaults, 'variadic', f.provariadic <> 0, 'volatile', f.volatile,
         'row', EXISTS (SELECT FROM pg_type t WHERE t.oid = f.proargtypes[0] AND t.typtype IN ('c', 'p', 'd')),
         'effects', f.effects,
         'settings', ARRAY(SELECT DISTINCT lower(m[1]) FROM regexp_matches(f.body, ${regex(BODY_SETTING_NAME)}, 'gi') m ORDER BY 1))
FROM fn f WHERE NOT f.builtin
UNION ALL
SELECT 'relation', n.nspname, c.relname, json_build_object('why', i.why)
FROM inherited i JOIN pg_class c ON c.oid = i.oid JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 'relation', n.nspname, c.relname, json_build_object(
         'calls', (SELECT min(u.name) FROM (${treeFunctions('r.ev_action::text')}) t JOIN unsafe u ON u.oid = t.fn),
         'reads', ARRAY(
           SELECT DISTINCT ARRAY[rn.nspname::text, rc.relname::text]
           FROM regexp_matches(r.ev_action::text, ':relid (\\d+)', 'g') m
           JOIN pg_class rc ON rc.oid = m[1]::oid JOIN pg_namespace rn ON rn.oid = rc.relnamespace
           WHERE rc.oid <> c.oid ORDER BY 1))
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND r.ev_type = '1' AND c.oid >= ${FIRST_USER_OID}
UNION ALL
SELECT 'operator', NULL, o.name, NULL
FROM (SELECT DISTINCT o.oprname::text AS name FROM pg_operator o JOIN unsafe u ON u.oid = o.oprcode) o
UNION ALL
SELECT 'cast', NULL, c.name, NULL
FROM (SELECT DISTINCT t.typname::text AS name
      FROM pg_cast c JOIN unsafe u ON u.oid = c.castfunc JOIN pg_type t ON t.oid = c.casttarget) c
`;
