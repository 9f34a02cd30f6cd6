import type { Seen } from '../cluster/incarnations.ts';
import type { Said } from '../cluster/transaction-outcome.ts';
import { parseLsn } from '../core/lsn.ts';

type Row = readonly (string | null)[];

/** Bytes, so that no setting of a session changes how they look. */
const time = (call: string) => `pg_catalog.encode(pg_catalog.timestamptz_send(${call}), 'hex')`;

/** Counters are reset when a server recovers from a crash, also where the postmaster has survived it. */
const COLUMNS = `pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), pg_catalog.pg_current_wal_flush_lsn(),
  ${time('pg_catalog.pg_postmaster_start_time()')}, ${time('pg_catalog.pg_stat_get_bgwriter_stat_reset_time()')},
  c.timeline_id, c.checkpoint_lsn, c.redo_lsn, c.next_xid`;

/** Which life of a primary it is, and whether it may be asked for ids of transactions. An error on a server in recovery. */
export const LIFE_SQL = `SELECT ${COLUMNS},
  pg_catalog.has_function_privilege('pg_catalog.pg_current_xact_id_if_assigned()', 'EXECUTE')
  AND pg_catalog.has_schema_privilege('pg_catalog', 'USAGE') FROM pg_catalog.pg_control_checkpoint() c`;

/** The same, and what it says of a transaction; and whether commits wait for followers. */
export const statusSql = (xid: bigint) => `SELECT ${COLUMNS},
  CASE WHEN '${xid}'::pg_catalog.xid8 OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
    THEN pg_catalog.pg_xact_status('${xid}') ELSE 'beyond' END,
  pg_catalog.current_setting('synchronous_standby_names')
  FROM pg_catalog.pg_control_checkpoint() c`;

/** Commits behind what was committed: when it is acknowledged, the followers that commits wait for have that as well. */
export const FOLLOWERS_HAVE_IT = `SET LOCAL synchronous_commit TO on; SELECT pg_catalog.pg_logical_emit_message(true, 'fairlead', 'outcome')`;

export function seenIn(node: string, row: Row): Seen | null {
  const [file, lsn, started, reset, checkpointTimeline, checkpoint, redo, nextXid] = row;
  if (!file || !lsn || !started || !checkpoint || !nextXid) return null;
  const timeline = Number.parseInt(file.slice(0, 8), 16);
  // a checkpoint that nothing was written beside: of a shutdown, or of the end of a recovery
  const atBeginning = checkpoint === redo && Number(checkpointTimeline) === timeline;
  const [epoch = '0', xid = '0'] = nextXid.split(':');
  const beginning = { lsn: parseLsn(checkpoint), nextXid: (BigInt(epoch) << 32n) + BigInt(xid) };
  return {
    node,
    timeline,
    key: `${started} ${reset ?? ''}`,
    lsn: parseLsn(lsn),
    beginning: atBeginning ? beginning : null,
  };
}

/** Of an answer to LIFE_SQL. */
export function mayAsk(row: Row): boolean {
  return row[8] === 't';
}

export function saidIn(row: Row): Said['status'] {
  return (row[8] ?? null) as Said['status'];
}

export function commitsWait(row: Row): boolean {
  return (row[9] ?? '') !== '';
}
