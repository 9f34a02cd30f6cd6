import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Lsn } from '../core/lsn.ts';
import { sleep } from '../core/sleep.ts';
import { STARTED_AT } from '../monitor/probe.ts';
import type { ControlNodes } from './control-nodes.ts';
import { readHistory, TIMELINE_OF_PRIMARY } from './inspect.ts';

const STATEMENT_MS = 2000;
/** Between two questions whether it is done. `pg_promote(true)` itself looks every 100 ms. */
const POLL_MS = 5;
/** Unreachable this long after it was told to promote, the candidate is given up for good. */
const LOST_MS = 3000;

export type Promoted = {
  readonly timeline: number;
  readonly parentTimeline: number;
  readonly forkLsn: Lsn;
  /** Transactions that began after the promotion have this id, 64 bits, or a later one. */
  readonly firstXid: string;
};

/** Promotion did not happen; `uncertain` when it may have. */
export class PromotionError extends Error {
  readonly uncertain: boolean;
  /** The run of the server that was told: when it was started, seconds since 1970. Null: not known, or none was. */
  readonly toldRun: number | null;

  constructor(message: string, uncertain: boolean, toldRun: number | null = null) {
    super(message);
    this.name = 'PromotionError';
    this.uncertain = uncertain;
    this.toldRun = toldRun;
  }
}

/** Tells that run of it and no other: of one that nobody knows to have been told nobody would know that it is a replica for good. */
const PROMOTE = `SELECT CASE WHEN ${STARTED_AT} = $1::float8 THEN pg_promote(false) END AS told`;

type AfterRow = {
  recovery: boolean;
  run: number;
  system_id: string;
  timeline: number | null;
  first_xid: string | null;
};

const AFTER = `SELECT pg_is_in_recovery() AS recovery, ${STARTED_AT} AS run, (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE ${TIMELINE_OF_PRIMARY} END AS timeline,
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_snapshot_xmax(pg_current_snapshot())::text END AS first_xid`;

/**
 * Promotes a replica and verifies what came of it: not in recovery, the same cluster, a higher timeline. As long as the candidate
 * answers and is still replaying it is waited for, however long that takes: a second promotion meanwhile would make two primaries.
 * @param prepare what has to be set there before
 * @throws PromotionError
 */
export async function promote(
  nodes: ControlNodes,
  node: string,
  expected: { readonly systemId: string | null; readonly timeline: number; readonly receiveLsn: Lsn },
  prepare: () => Promise<void>,
  signal: AbortSignal,
): Promise<Promoted> {
  let run: number;
  try {
    await prepare();
    const [row] = await nodes.query<{ run: number }>(node, `SELECT ${STARTED_AT} AS run`, [], STATEMENT_MS);
    if (row === undefined) throw new Error('it does not tell since when it runs');
    run = row.run;
  } catch (error) {
    throw new PromotionError(`before it was told to: ${messageOf(error)}`, false);
  }
  try {
    const rows = await nodes.query<{ told: boolean | null }>(node, PROMOTE, [run], STATEMENT_MS);
    if (rows[0]?.told === null) throw new PromotionError('its server was started again before it was told to', false);
    if (rows[0]?.told !== true) throw new PromotionError('pg_promote answered false', false);
  } catch (error) {
    if (error instanceof PromotionError) throw error;
    const { sqlState } = error as { sqlState?: string | null };
    // an answer with an SQLSTATE is a refusal, unless it is a primary already (55000: recovery is not in progress)
    if (typeof sqlState === 'string' && sqlState !== '55000') throw new PromotionError(messageOf(error), false);
  }
  const after = await ended(nodes, node, run, signal);
  if (expected.systemId !== null && after.system_id !== expected.systemId) {
    throw new PromotionError(`another cluster answers: system identifier ${after.system_id}`, true);
  }
  const timeline = after.timeline ?? 0;
  if (timeline <= expected.timeline) {
    throw new PromotionError(`it is on timeline ${timeline}, not above ${expected.timeline}`, true);
  }
  const { steps } = await readHistory(nodes, node, timeline);
  const last = steps.at(-1);
  return {
    timeline,
    parentTimeline: last?.timeline ?? expected.timeline,
    forkLsn: last?.endLsn ?? expected.receiveLsn,
    firstXid: after.first_xid ?? '0',
  };
}

/** How often a candidate that is still in recovery is told again: the first telling may have been lost with its connection. */
const TELL_MS = 1000;

async function ended(nodes: ControlNodes, node: string, run: number, signal: AbortSignal): Promise<AfterRow> {
  let answeredMs = nowMs();
  let toldMs = answeredMs;
  for (;;) {
    try {
      const [row] = await nodes.query<AfterRow>(node, AFTER, [], STATEMENT_MS);
      answeredMs = nowMs();
      if (row !== undefined && !row.recovery) return row;
      // a server that is started again has forgotten it, and nobody knows what ended it
      if (row !== undefined && row.run !== run)
        throw new PromotionError('its server was started again meanwhile; its log tells why', true, run);
      if (answeredMs - toldMs > TELL_MS) {
        toldMs = answeredMs;
        await nodes.query(node, PROMOTE, [run], STATEMENT_MS);
      }
    } catch (error) {
      if (error instanceof PromotionError) throw error;
      if (nowMs() - answeredMs > LOST_MS) {
        throw new PromotionError(`lost during promotion: ${messageOf(error)}; its log tells why`, true, run);
      }
      await sleep(100, signal);
    }
    if (signal.aborted) throw new PromotionError('Fairlead stops', true);
    await sleep(POLL_MS, signal);
  }
}
