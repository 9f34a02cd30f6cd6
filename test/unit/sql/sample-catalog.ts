import { Catalog } from '../../../src/sql/catalog.ts';

/** What `CATALOG_QUERY` answers for a small database: a fixture shared by the tests of this folder. */

const fn = (name: string, types: string[], info: Record<string, unknown> = {}, schema = 'public') => ({
  kind: 'function',
  schema,
  name,
  info: { types, min: types.length, variadic: false, volatile: false, row: false, effects: [], settings: [], ...info },
});
const relation = (name: string, info: Record<string, unknown>, schema = 'public') => ({
  kind: 'relation',
  schema,
  name,
  info,
});

const VOLATILE =
  'random clock_timestamp timeofday gen_random_uuid pg_sleep pg_is_in_recovery nextval setval currval lastval ' +
  'set_config setseed pg_notify pg_advisory_lock pg_advisory_xact_lock pg_try_advisory_lock pg_advisory_unlock_all ' +
  'pg_relation_size lo_open lo_create lo_get query_to_xml pg_export_snapshot pg_current_wal_lsn pg_cancel_backend ' +
  'pg_stat_reset pg_create_restore_point pg_xact_status uuidv7';
const STABLE =
  'count sum min max avg now lower upper length coalesce inet_server_port inet_server_addr version current_setting ' +
  'current_database current_schema txid_current pg_current_xact_id pg_backend_pid table_to_xml generate_series unnest ' +
  'pg_stat_get_activity string_agg row_number timezone like_escape to_char date_trunc jsonb_agg json_value extract ' +
  'pg_get_viewdef format_type obj_description pg_table_is_visible abs md5 json_object pg_typeof set_bit';

export const SAMPLE = Catalog.from([
  { kind: 'builtins', schema: null, name: '', info: { volatile: VOLATILE, all: `${VOLATILE} ${STABLE}` } },
  fn('stable_fn', ['integer']),
  fn('volatile_fn', [], { volatile: true }),
  fn('mixed', ['integer']),
  fn('mixed', ['text'], { volatile: true }),
  fn('mixed', ['integer', 'integer'], { min: 1 }),
  fn('elsewhere', ['integer'], {}, 'hidden'),
  fn('elsewhere', ['bigint'], { volatile: true }),
  fn('many', ['integer[]'], { variadic: true }),
  fn('many_volatile', ['text', 'integer[]'], { variadic: true, volatile: true }),
  fn('lower', ['citext'], { volatile: true }),
  fn('tenant', ['text'], { effects: ['settings'], settings: ['app.tenant'] }),
  fn('locks', [], { effects: ['advisory'] }),
  fn('makes_temp', [], { volatile: true, effects: ['temporary'] }),
  fn('register', ['users'], { volatile: true, row: true }),
  fn('Ümlaut', ['integer']),
  fn('json_exists', ['text'], { volatile: true }),
  relation('counter', { why: 'sequence' }),
  relation('cache', { why: 'unlogged table' }),
  relation('remote', { why: 'foreign table' }),
  relation('orders', { why: 'unlogged table' }, 'scratch'),
  relation('plain_view', { calls: null, reads: [['public', 'users']] }),
  relation('deep_view', { calls: null, reads: [['public', 'bad_view']] }),
  relation('bad_view', { calls: 'nextval', reads: [] }),
  relation('stat_view', { calls: null, reads: [['pg_catalog', 'pg_stat_activity']] }),
  relation('loop_a', { calls: null, reads: [['public', 'loop_b']] }),
  relation('loop_b', { calls: null, reads: [['public', 'loop_a']] }),
  { kind: 'operator', schema: null, name: '?~?', info: null },
  { kind: 'cast', schema: null, name: 'odd', info: null },
]);
