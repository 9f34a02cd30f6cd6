import { type Mark, withMark } from '../cluster/mark.ts';
import { nowMs } from '../core/clock.ts';
import { maxLsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { REPLAY_PAUSED } from './inspect.ts';
import type { Frozen } from './state.ts';
import { until } from './until.ts';
import type { Upstreams } from './upstreams.ts';

/** A replica that answers within this takes part in the election. */
const STATEMENT_MS = 1500;
/** Replay normally ends within milliseconds; a long backlog is finished by the promotion itself. */
const SETTLE_MS = 2000;

/**
 * `replay >= receive` is not always reached: the received bytes may end within a record. Then the startup process waiting for WAL
 * that cannot come, twice in a row, is the sign that it has replayed everything.
 */
const POSITION = `SELECT pg_is_in_recovery() AS recovery, coalesce(pg_last_wal_replay_lsn(), '0/0')::text AS replay,
  pg_last_wal_receive_lsn()::text AS receive,
  ${REPLAY_PAUSED} AS paused,
  greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS timeline,
  EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)
    OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver') AS receiving,
  coalesce((SELECT wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval') FROM pg_stat_activity
    WHERE backend_type = 'startup'), false) AS waiting`;

type PositionRow = {
  recovery: boolean;
  replay: string;
  receive: string | null;
  paused: boolean;
  timeline: number;
  receiving: boolean;
  waiting: boolean;
};

/** A receiver that heard from its sender since we last did. */
const RECEIVER = `SELECT status, sender_port, (extract(epoch FROM clock_timestamp() - last_msg_receipt_time) * 1000)::float8 AS silent
  FROM pg_stat_wal_receiver WHERE pid IS NOT NULL`;

/** Somebody promoted it. */
export class NotReplicaError extends Error {
  constructor() {
    super('it is not a replica any more');
    this.name = 'NotReplicaError';
  }
}

/** Milliseconds since the replica heard from its sender; null when it has none. @throws ControlError */
export async function receiverSilenceMs(nodes: ControlNodes, node: string): Promise<number | null> {
  const rows = await nodes.query<{ status: string; silent: number | null }>(node, RECEIVER, [], STATEMENT_MS);
  const row = rows[0];
  return row === undefined || row.status !== 'streaming' ? null : (row.silent ?? Number.POSITIVE_INFINITY);
}

/**
 * Stops a replica from receiving and tells where it stands. The receiver ends, and none connects while `primary_conninfo` is marked; what
 * it was stands there still, for whoever turns it back.
 * @param knownTimeline what it showed before; the control file lags until the next restartpoint
 * @throws ControlError
 */
export async function freeze(
  nodes: ControlNodes,
  upstreams: Upstreams,
  node: string,
  knownTimeline: number,
  epoch: number,
): Promise<Frozen> {
  const turned = await upstreams.turned(nodes, node, STATEMENT_MS);
  const conninfo = turned.conninfo === '' ? (upstreams.of(node)?.conninfo ?? '') : turned.conninfo;
  // one that a run before may have told to promote stays known as such
  const kind = turned.mark?.kind === 'promote' ? 'promote' : 'frozen';
  const marked = Math.max(knownTimeline, turned.mark?.timeline ?? 0);
  const settings = {
    primary_slot_name: turned.slotName,
    primary_conninfo: withMark(conninfo, { kind, epoch, timeline: marked, detail: '' }),
  };
  await nodes.alterSystem(node, settings, STATEMENT_MS);
  const endMs = nowMs() + SETTLE_MS;
  let waitingBefore = false;
  let complete = false;
  const settled = await until(SETTLE_MS + STATEMENT_MS, async () => {
    const [row] = await nodes.query<PositionRow>(node, POSITION, [], STATEMENT_MS);
    if (row === undefined) return null;
    const waiting = row.waiting && !row.receiving;
    // one that has received nothing since its start may have more in its own files than it has replayed so far
    const replayed = row.receive !== null && parseLsn(row.replay) >= parseLsn(row.receive);
    complete = !row.receiving && (replayed || (waiting && waitingBefore));
    waitingBefore = waiting;
    return complete || (!row.receiving && row.paused) || nowMs() >= endMs ? row : null;
  });
  if (settled === null || settled.receiving) throw new Error('its WAL receiver does not stop');
  return frozenAt(node, marked, settled, complete);
}

/** Where a replica stands that has replayed everything there is to receive. @throws ControlError | Error */
export async function standing(nodes: ControlNodes, node: string, knownTimeline: number): Promise<Frozen> {
  const [row] = await nodes.query<PositionRow>(node, POSITION, [], STATEMENT_MS);
  if (row === undefined) throw new Error('it does not tell where it stands');
  return frozenAt(node, knownTimeline, row, true);
}

function frozenAt(node: string, knownTimeline: number, row: PositionRow, complete: boolean): Frozen {
  if (!row.recovery) throw new NotReplicaError();
  const replayLsn = parseLsn(row.replay);
  return {
    node,
    timeline: Math.max(knownTimeline, row.timeline),
    // a restarted replica names the start of a segment as received until it streams again
    receiveLsn: maxLsn(parseLsn(row.receive ?? '0/0'), replayLsn),
    replayLsn,
    paused: row.paused,
    complete,
    exact: complete || row.receive !== null,
  };
}

/**
 * Notes on a frozen replica what becomes of it: from `promote` on, whoever starts next promotes no other.
 * @throws ControlError
 */
export async function markAs(
  nodes: ControlNodes,
  upstreams: Upstreams,
  node: string,
  kind: 'promote' | 'frozen',
  { epoch, timeline }: Pick<Mark, 'epoch' | 'timeline'>,
): Promise<void> {
  const { conninfo, mark } = await upstreams.turned(nodes, node, STATEMENT_MS);
  await nodes.alterSystem(
    node,
    {
      primary_conninfo: withMark(conninfo, {
        kind,
        epoch,
        timeline: Math.max(timeline, mark?.timeline ?? 0),
        detail: '',
      }),
    },
    STATEMENT_MS,
  );
}

/** Turns a replica that a change of primary marked back to where it came from. @throws ControlError */
export async function thaw(nodes: ControlNodes, upstreams: Upstreams, node: string): Promise<void> {
  const { conninfo, slotName, mark } = await upstreams.turned(nodes, node, STATEMENT_MS);
  if (mark === null) return;
  await nodes.alterSystem(node, { primary_slot_name: slotName, primary_conninfo: conninfo }, STATEMENT_MS);
}
