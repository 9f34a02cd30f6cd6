/** Settings that a failover changes. */
const PARAMETERS = [
  'primary_conninfo',
  'primary_slot_name',
  'synchronous_standby_names',
  'default_transaction_read_only',
  'wal_receiver_timeout',
  'wal_receiver_status_interval',
];

/** Makes role `steward`, which may change these and do what this version can grant: before 15 it has to be a superuser. */
export function makesSteward(major: number): string {
  if (major < 15) return `CREATE ROLE steward LOGIN SUPERUSER REPLICATION PASSWORD 'p'`;
  return `CREATE ROLE steward LOGIN REPLICATION PASSWORD 'p' IN ROLE pg_monitor, pg_signal_backend;
    GRANT EXECUTE ON FUNCTION pg_promote, pg_reload_conf TO steward;
    GRANT ALTER SYSTEM ON PARAMETER ${PARAMETERS.join(', ')} TO steward`;
}
