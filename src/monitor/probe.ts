import { FENCE_NAME, MARK_PATTERN, parseMark } from '../cluster/mark.ts';
import type { Observation, Receiver } from '../cluster/observation.ts';
import { endOfLastRecord, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';

/** Since when a server runs, seconds since 1970. Runs are told apart by this value: whoever asks for it asks in these words. */
export const STARTED_AT = 'extract(epoch FROM pg_postmaster_start_time())::float8';

/**
 * Everything about a node in one round trip; PostgreSQL 13 to 18, any role. Each arm of a CASE is evaluated only in its own role: most of
 * these functions raise an error in the other one. The control file's timeline lags until the next restart point, so a replica's
 * comes first from its receiver.
 */
export const PROBE_SQL = `
SELECT r.in_recovery,
  current_setting('server_version_num')::int AS version,
  (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
  ${STARTED_AT} AS started_at,
  CASE WHEN r.in_recovery
    THEN coalesce(w.received_tli, greatest(
      (SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery())))
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline,
  CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text AS position,
  CASE WHEN r.in_recovery THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END::text AS durable,
  CASE WHEN r.in_recovery THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
  current_setting('wal_block_size')::int AS block_bytes,
  pg_size_bytes(current_setting('wal_segment_size'))::float8 AS segment_bytes,
  current_setting('wal_level') AS wal_level,
  current_setting('default_transaction_read_only') = 'on' AS read_only,
  substring(current_setting('synchronous_standby_names') FROM '${FENCE_NAME}([0-9]{1,9})')::int AS fence,
  CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
    THEN substring(current_setting('primary_conninfo') FROM '${MARK_PATTERN}') END AS mark,
  w.pid AS receiver_pid, w.status AS receiver_status, w.sender_host, w.sender_port, w.slot_name, w.received_tli,
  extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 * 1000 AS receiver_silent_ms,
  extract(epoch FROM clock_timestamp())::float8 * 1000 AS clock_ms
FROM (SELECT pg_is_in_recovery() AS in_recovery) r LEFT JOIN pg_stat_wal_receiver w ON true`;

/**
 * Timeline of the newest WAL that a replica has received. Without a receiver the probe knows only the control file's, which may be that of
 * the primary before the last. For members of pg_monitor.
 */
export const RECEIVED_TIMELINE_SQL = `SELECT max(('x' || left(name, 8))::bit(32)::int) AS timeline FROM pg_ls_waldir()
  WHERE name ~ '^[0-9A-F]{24}$'`;

export type ProbeRow = {
  readonly in_recovery: boolean;
  readonly version: number;
  readonly system_id: string;
  readonly started_at: number;
  readonly timeline: number | null;
  readonly position: string | null;
  readonly durable: string | null;
  readonly replay_paused: boolean;
  readonly block_bytes: number;
  readonly segment_bytes: number;
  readonly wal_level: string;
  readonly read_only: boolean;
  readonly fence: number | null;
  readonly mark: string | null;
  readonly receiver_pid: number | null;
  readonly receiver_status: string | null;
  readonly sender_host: string | null;
  readonly sender_port: number | null;
  readonly slot_name: string | null;
  readonly received_tli: number | null;
  readonly receiver_silent_ms: number | null;
  readonly clock_ms: number;
};

/** What of a probe does not come from its row. */
export type ProbeFacts = Pick<Observation, 'node' | 'sequence' | 'startedMs' | 'finishedMs' | 'clockOffsetMs'> & {
  /** Timeline that the same run of the same server told before; a timeline never falls while a server runs. */
  readonly timelineBefore: number;
};

/** Turns an answer into an observation. */
export function observationOf(row: ProbeRow, facts: ProbeFacts): Observation {
  const { timelineBefore, ...rest } = facts;
  const position = row.position === null ? (0n as Lsn) : parseLsn(row.position);
  // a restarted standby reports the start of a segment as received until it streams: below what it has replayed
  const durable = row.durable === null ? position : parseLsn(row.durable);
  const mark = parseMark(row.mark);
  return {
    ...rest,
    role: row.in_recovery ? 'replica' : 'primary',
    systemId: row.system_id,
    timeline: Math.max(row.timeline ?? 0, timelineBefore, mark?.timeline ?? 0),
    startedAt: row.started_at,
    version: row.version,
    replayLsn: row.in_recovery ? position : endOfLastRecord(position, row.block_bytes, row.segment_bytes),
    receiveLsn: row.in_recovery ? maxLsn(position, durable) : durable,
    replayPaused: row.replay_paused,
    receiver: receiverOf(row),
    walLevel: row.wal_level,
    readOnly: row.read_only,
    fence: row.fence,
    mark,
  };
}

/** A row without a status is one that the role may not read: somebody streams, and that is all we know. */
function receiverOf(row: ProbeRow): Receiver | null {
  if (row.receiver_pid === null) return null;
  return {
    status: row.receiver_status ?? 'hidden',
    senderHost: row.sender_host ?? '',
    senderPort: row.sender_port ?? 0,
    slotName: row.slot_name,
    timeline: row.received_tli,
    silentMs: Math.max(0, row.receiver_silent_ms ?? 0),
  };
}
