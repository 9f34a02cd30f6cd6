/**
 * A transaction that does nothing but commit: it pushes out WAL that nobody flushed yet, for only what is flushed reaches replicas. It is
 * transactional because a mere message is flushed by no version before 17, and it does not wait for synchronous replicas.
 */
export const TINY_COMMIT_SQL = `SELECT set_config('synchronous_commit', 'local', true),
  pg_logical_emit_message(true, 'fairlead', 'heartbeat')`;

/** The same for a primary that may be about to hand over: made read-only, it writes nothing any more. */
export const LAST_TINY_COMMIT_SQL = `SELECT set_config('synchronous_commit', 'local', true),
  CASE WHEN current_setting('transaction_read_only') = 'off' THEN pg_logical_emit_message(true, 'fairlead', 'heartbeat') END`;
