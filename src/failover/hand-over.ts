import { nowMs } from '../core/clock.ts';
import { endOfLastRecord, formatLsn, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { type Covered, lift, quell } from './fence.ts';
import { freeze, thaw } from './freeze.ts';
import type { Frozen } from './state.ts';
import { until } from './until.ts';
import type { Upstreams } from './upstreams.ts';

const STATEMENT_MS = 3000;
/** Statements may end by themselves within this; what is left is ended. */
const QUIESCE_MS = 5000;
/** The target has to have everything within this, or the switchover is given up. */
const CATCH_UP_MS = 10_000;
/** What the old primary writes by itself after its last commit (checkpoints) is worth only a short wait. */
const AFTERMATH_MS = 500;

export type HandOver = {
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  /** The other replicas that answer. */
  readonly others: readonly string[];
  timelineOf(node: string): number;
  readonly clients: { quiesce(timeoutMs: number): Promise<void>; settled(): Promise<void> };
};

export type HandedOver = { readonly finalLsn: Lsn; readonly frozen: readonly Frozen[]; readonly covered: Covered };

/**
 * The planned way to a standstill: traffic is held already; the old primary is made read-only and emptied of clients, and the
 * target receives and replays its last byte. When anything fails all of it is undone.
 * @throws Error with the reason; the old primary takes writes again.
 */
export async function handOver(nodes: ControlNodes, upstreams: Upstreams, plan: HandOver): Promise<HandedOver> {
  const { from, to } = plan;
  const touched: string[] = [];
  let covered: Covered | undefined;
  try {
    await plan.clients.settled();
    await Promise.race([plan.clients.quiesce(QUIESCE_MS), timeout(QUIESCE_MS + 1000)]);
    covered = await quell(nodes, from, plan.epoch);
    const finalLsn = await endOf(nodes, from);
    await caughtUp(nodes, to, finalLsn, CATCH_UP_MS);
    const frozen: Frozen[] = [];
    for (const other of plan.others) {
      try {
        touched.push(other);
        frozen.push(await freeze(nodes, upstreams, other, plan.timelineOf(other), plan.epoch));
      } catch {
        // one that does not answer is turned to the new primary when it comes back
      }
    }
    const newest = frozen.reduce((lsn, f) => maxLsn(lsn, f.replayLsn), finalLsn);
    await caughtUp(nodes, to, newest, AFTERMATH_MS).catch(() => {});
    touched.push(to);
    frozen.push(await freeze(nodes, upstreams, to, plan.timelineOf(to), plan.epoch));
    return { finalLsn, frozen, covered };
  } catch (error) {
    await Promise.allSettled([lift(nodes, from, covered), ...touched.map((n) => thaw(nodes, upstreams, n))]);
    throw error;
  }
}

/** End of the last record: the insert position alone may stand behind a page header that no replica reaches. */
async function endOf(nodes: ControlNodes, node: string): Promise<Lsn> {
  const rows = await nodes.query<{ lsn: string }>(
    node,
    'SELECT pg_current_wal_insert_lsn()::text AS lsn',
    [],
    STATEMENT_MS,
  );
  return endOfLastRecord(parseLsn(rows[0]?.lsn ?? '0/0'));
}

async function caughtUp(nodes: ControlNodes, node: string, lsn: Lsn, limitMs: number): Promise<void> {
  const startMs = nowMs();
  const reached = await until(limitMs, async () => {
    const rows = await nodes.query<{ reached: boolean }>(
      node,
      'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached',
      [formatLsn(lsn)],
      STATEMENT_MS,
    );
    return rows[0]?.reached === true ? true : null;
  });
  if (reached !== null) return;
  throw new Error(`${node} did not replay ${formatLsn(lsn)} within ${Math.round(nowMs() - startMs)} ms`);
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
