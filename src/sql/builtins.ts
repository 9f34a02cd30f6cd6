import type { PinReason } from './verdict.ts';

/**
 * What the catalog does not tell about PostgreSQL's own functions and views: which volatile ones are harmless on a
 * replica, and which others must not run there although they are declared stable.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/**
 * Declared volatile, change nothing, and a replica's answer is as good as the primary's. `timezone` is AT TIME ZONE; before
 * PostgreSQL 15 the one of `timetz` is declared volatile.
 */
export const SAFE_VOLATILE = words(`
  timezone random random_normal clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 pg_sleep pg_sleep_for pg_sleep_until
  array_shuffle array_sample bernoulli system current_query pg_is_in_recovery pg_last_wal_replay_lsn
  pg_last_wal_receive_lsn pg_last_xact_replay_timestamp pg_is_wal_replay_paused pg_get_wal_replay_pause_state
  pg_partition_tree pg_partition_ancestors pg_collation_actual_version pg_database_collation_actual_version
  pg_jit_available`);

/**
 * Primary only, whatever the catalog says. Transaction ids and snapshots; what belongs to the session or the server it
 * runs on; whole tables named by a literal (`table_to_xml`); and what succeeds silently on a standby but means nothing
 * there. Most volatile functions need no entry: volatile is reason enough.
 */
export const PRIMARY_ONLY = words(`
  txid_current txid_current_if_assigned txid_current_snapshot pg_current_xact_id pg_current_xact_id_if_assigned
  pg_current_snapshot pg_backend_pid pg_my_temp_schema pg_listening_channels pg_prepared_statement pg_cursor
  pg_show_all_settings pg_conf_load_time pg_postmaster_start_time pg_backup_start_time pg_config
  pg_get_replication_slots pg_walfile_name pg_walfile_name_offset pg_split_walfile_name table_to_xml table_to_xml_and_xmlschema table_to_xmlschema schema_to_xml
  schema_to_xml_and_xmlschema schema_to_xmlschema database_to_xml database_to_xml_and_xmlschema database_to_xmlschema
  query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema ts_stat ts_rewrite
  nextval setval currval lastval set_config setseed pg_notify pg_export_snapshot pg_logical_emit_message
  pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared pg_advisory_unlock
  pg_advisory_unlock_shared pg_advisory_unlock_all pg_advisory_xact_lock pg_advisory_xact_lock_shared
  pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_current_wal_lsn pg_current_wal_insert_lsn
  pg_current_wal_flush_lsn pg_cancel_backend pg_terminate_backend pg_reload_conf pg_promote pg_switch_wal
  pg_sequence_last_value pg_get_sequence_data lo_open loread lo_get`);

/** By prefix: statistics and what a server knows of itself only. */
export const PRIMARY_ONLY_PREFIXES = ['pg_stat_', 'pg_stat_get_', 'pg_ls_', 'binary_upgrade_', 'pg_replication_'];

/** Of those that are primary only, the ones that change data or reach other sessions' positions. */
const WRITING = words(`
  nextval setval pg_notify pg_logical_emit_message lo_open query_to_xml query_to_xmlschema query_to_xml_and_xmlschema
  ts_stat ts_rewrite txid_current pg_current_xact_id`);

/** Primary only, but leaves no trace in the WAL that a later read would have to see. */
export function isHarmlessOnPrimary(name: string): boolean {
  return (
    (PRIMARY_ONLY.has(name) && !WRITING.has(name)) ||
    (PRIMARY_ONLY_PREFIXES.some((prefix) => name.startsWith(prefix)) && /^pg_(stat_get|ls)_/.test(name))
  );
}

export function isPrimaryOnlyFunction(name: string): boolean {
  return PRIMARY_ONLY.has(name) || PRIMARY_ONLY_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** State they leave in the server connection. By name in any schema: dblink is an extension. */
export const FUNCTION_PINS: ReadonlyMap<string, PinReason> = new Map<string, PinReason>([
  ['pg_advisory_lock', 'session advisory lock'],
  ['pg_advisory_lock_shared', 'session advisory lock'],
  ['pg_try_advisory_lock', 'session advisory lock'],
  ['pg_try_advisory_lock_shared', 'session advisory lock'],
  ['currval', 'sequence state'],
  ['lastval', 'sequence state'],
  ['pg_backend_pid', 'pg_backend_pid'],
  ['setseed', 'server state'],
  ['pg_replication_origin_session_setup', 'server state'],
  ['dblink_connect', 'server state'],
  ['dblink_connect_u', 'server state'],
]);

/** Enough to serve common reads before the catalog has been read; a user's function of such a name is the risk. */
export const SAFE_WITHOUT_CATALOG = words(`
  count sum min max avg now lower upper length inet_server_port inet_server_addr pg_is_in_recovery version
  current_setting current_database current_schema pg_last_wal_replay_lsn clock_timestamp random pg_sleep`);

const PRIMARY_RELATIONS = words(`
  pg_locks pg_cursors pg_prepared_statements pg_prepared_xacts pg_replication_slots pg_replication_origin_status
  pg_settings pg_file_settings pg_hba_file_rules pg_ident_file_mappings pg_config pg_backend_memory_contexts
  pg_shmem_allocations pg_shmem_allocations_numa pg_aios pg_sequences pg_largeobject pg_largeobject_metadata`);

/** System views that describe one server or one session: who asks means the primary's. Also `pg_stat_statements`. */
export function isPrimaryRelation(schema: string | null, name: string): boolean {
  if (name.startsWith('pg_stat_') || name.startsWith('pg_statio_')) return true;
  return (schema === null || schema === 'pg_catalog') && PRIMARY_RELATIONS.has(name);
}

/** Views and functions of the cumulative statistics system that count what statements did. */
export function isCounter(name: string): boolean {
  return /^pg_stat(io)?_(all|user|sys|xact|get|force|reset|clear|have)_/.test(name);
}

/** Settings that SHOW may read anywhere: the session's own, which are replayed, and those equal on all nodes. */
export const SHOW_ANYWHERE = words(`
  search_path timezone datestyle intervalstyle client_encoding server_version server_version_num server_encoding
  standard_conforming_strings application_name statement_timeout lock_timeout transaction_isolation
  default_transaction_isolation max_identifier_length integer_datetimes extra_float_digits bytea_output
  client_min_messages lc_collate lc_ctype lc_messages lc_monetary lc_numeric lc_time block_size`);

/** What a PL body may leave behind, found by word: nobody executes it to look. `\b` is `\y` in PostgreSQL. */
export const BODY_PATTERNS = {
  settings: String.raw`\bset_config\b|(^|;|\bbegin|\bthen|\belse|\bloop|\bexecute|'|\$)\s*(set|reset)\s+[a-z]`,
  temporary: String.raw`\b(temp|temporary)\b|\bpg_temp\b`,
  advisory: String.raw`\bpg_(try_)?advisory_lock(_shared)?\b`,
  listen: String.raw`\blisten\s+["a-z]`,
  state: String.raw`\bsetseed\b|\bdblink_connect`,
} as const;

export type BodyEffect = keyof typeof BODY_PATTERNS;

export const EFFECT_PINS: Readonly<Record<BodyEffect, PinReason | null>> = {
  settings: null,
  temporary: 'temporary table',
  advisory: 'session advisory lock',
  listen: 'listen',
  state: 'server state',
};

export function bodyEffects(body: string): BodyEffect[] {
  const names = Object.keys(BODY_PATTERNS) as BodyEffect[];
  return names.filter((name) => new RegExp(BODY_PATTERNS[name], 'i').test(body));
}

/** Custom and other settings a body names in `set_config('…'` or SET …: to be asked for by name. */
export const BODY_SETTING_NAME = String.raw`set_config\s*\(\s*'([^']+)'`;

export function bodySettings(body: string): string[] {
  const names = new Set<string>();
  for (const match of body.matchAll(new RegExp(BODY_SETTING_NAME, 'gi'))) names.add((match[1] as string).toLowerCase());
  for (const match of body.matchAll(/\b(?:set|reset)\s+(?:local\s+|session\s+)?([a-z_][\w.]*)\s*(?:=|to\b|;)/gi)) {
    names.add((match[1] as string).toLowerCase());
  }
  return [...names];
}
