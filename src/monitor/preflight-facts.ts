import { randomBytes } from 'node:crypto';
import { type ControlConnection, ControlError } from '../backend/control-connection.ts';

/** What `fairlead check` reads from one node that answers. */
export type NodeFacts = {
  readonly version: number;
  readonly version_text: string;
  readonly in_recovery: boolean;
  readonly system_id: string;
  readonly wal_level: string;
  readonly max_wal_senders: number;
  readonly max_replication_slots: number;
  readonly used_slots: number;
  readonly password_encryption: string;
  readonly wal_receiver_timeout_ms: number;
  readonly receiver_status: string | null;
  readonly receiver_present: boolean;
  readonly walsenders: number;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly reads_stats: boolean;
  readonly reads_settings: boolean;
  readonly may_promote: boolean;
  readonly may_reload: boolean;
  readonly may_signal: boolean;
  readonly schema_present: boolean;
  readonly schema_usable: boolean;
  readonly ddl_marked: boolean;
  readonly may_alter_system: boolean;
  /** Null where it was not tried. */
  readonly decoding: 'works' | 'missing' | null;
};

type Asked = Omit<NodeFacts, 'may_alter_system' | 'decoding'>;

const FACTS_SQL = `
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
  pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
  current_setting('wal_level') AS wal_level, current_setting('max_wal_senders')::int AS max_wal_senders,
  current_setting('max_replication_slots')::int AS max_replication_slots,
  (SELECT count(*)::int FROM pg_replication_slots) AS used_slots,
  current_setting('password_encryption') AS password_encryption,
  (SELECT setting::float8 FROM pg_settings WHERE name = 'wal_receiver_timeout') AS wal_receiver_timeout_ms,
  (SELECT status FROM pg_stat_wal_receiver) AS receiver_status,
  EXISTS (SELECT FROM pg_stat_wal_receiver) AS receiver_present,
  (SELECT count(*)::int FROM pg_stat_replication) AS walsenders,
  r.rolsuper AS superuser, r.rolreplication OR r.rolsuper AS replication,
  pg_has_role(r.oid, 'pg_read_all_stats', 'USAGE') AS reads_stats,
  pg_has_role(r.oid, 'pg_read_all_settings', 'USAGE') AS reads_settings,
  has_function_privilege(r.oid, 'pg_promote(boolean,integer)', 'EXECUTE') AS may_promote,
  has_function_privilege(r.oid, 'pg_reload_conf()', 'EXECUTE') AS may_reload,
  pg_has_role(r.oid, 'pg_signal_backend', 'USAGE') AS may_signal,
  to_regnamespace('fairlead') IS NOT NULL AS schema_present,
  coalesce(has_schema_privilege(r.oid, (SELECT oid FROM pg_namespace WHERE nspname = 'fairlead'), 'USAGE'), false) AS schema_usable,
  (SELECT count(*) = 2 FROM pg_event_trigger WHERE evtname IN ('fairlead_ddl_end', 'fairlead_sql_drop')
    AND evtenabled = 'A') AS ddl_marked
FROM pg_roles r WHERE r.rolname = current_user`;

/** What a failover sets on servers. PostgreSQL 15 made ALTER SYSTEM grantable, setting by setting; before, it is for superusers. */
export const ALTERED_SETTINGS = [
  'primary_conninfo',
  'primary_slot_name',
  'synchronous_standby_names',
  'default_transaction_read_only',
  'wal_receiver_timeout',
  'wal_receiver_status_interval',
] as const;

const ALTER_SYSTEM_SQL = `SELECT coalesce(current_setting('allow_alter_system', true), 'on') = 'on'
  AND ${ALTERED_SETTINGS.map((name) => `has_parameter_privilege('${name}', 'ALTER SYSTEM')`).join('\n  AND ')} AS may`;

/** @throws ControlError */
export async function readFacts(connection: ControlConnection): Promise<NodeFacts> {
  const [asked] = await connection.query<Asked>(FACTS_SQL);
  if (asked === undefined) throw new Error('the role is not in pg_roles');
  let mayAlterSystem = asked.superuser;
  if (asked.version >= 150_000) {
    mayAlterSystem = (await connection.query<{ may: boolean }>(ALTER_SYSTEM_SQL))[0]?.may ?? false;
  }
  const logical = !asked.in_recovery && asked.wal_level === 'logical' && asked.replication;
  const decoding = logical ? await tryDecoding(connection) : null;
  return { ...asked, may_alter_system: mayAlterSystem, decoding };
}

/** Whether the server has the output plugin. The slot is temporary: it goes with the connection at the latest. */
async function tryDecoding(connection: ControlConnection): Promise<'works' | 'missing' | null> {
  const slot = `fairlead_check_${randomBytes(4).toString('hex')}`;
  try {
    await connection.query(`SELECT pg_create_logical_replication_slot($1, 'test_decoding', true)`, [slot], 3000);
    await connection.query('SELECT pg_drop_replication_slot($1)', [slot]);
    return 'works';
  } catch (error) {
    // a slot waits for open transactions: late says nothing about the plugin
    return error instanceof ControlError && error.sqlState === '58P01' ? 'missing' : null;
  }
}
