/** Settings that a failover changes. */
const PARAMETERS = [
  'primary_conninfo',
  'primary_slot_name',
  'synchronous_standby_names',
  'default_transaction_read_only',
  'wal_receiver_timeout',
  'wal_receiver_status_interval',
];

/** Makes role `steward`, which may change these and do what PostgreSQL 15 and later can grant. */
export const STEWARD = `CREATE ROLE steward LOGIN REPLICATION PASSWORD 'p' IN ROLE pg_monitor, pg_signal_backend;
  GRANT EXECUTE ON FUNCTION pg_promote, pg_reload_conf TO steward;
  GRANT ALTER SYSTEM ON PARAMETER ${PARAMETERS.join(', ')} TO steward`;
