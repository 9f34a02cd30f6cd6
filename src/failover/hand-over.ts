import { nowMs } from '../core/clock.ts';
import { endOfLastRecord, formatLsn, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { type Covered, lift, quell } from './fence.ts';
import { freeze, standing, thaw } from './freeze.ts';
import { Laps, type Steps } from './laps.ts';
import type { Frozen } from './state.ts';
import { until } from './until.ts';
import type { Upstreams } from './upstreams.ts';

const STATEMENT_MS = 3000;
/** The target has to have everything within this, or the switchover is given up. */
const CATCH_UP_MS = 10_000;
/** What the old primary writes by itself after its last commit (checkpoints) is worth only a short wait. */
const AFTERMATH_MS = 500;

export type HandOver = {
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  /** Statements and transactions may end by themselves within this; what is left is ended. */
  readonly waitMs: number;
  /** The other replicas that answer. */
  readonly others: readonly string[];
  timelineOf(node: string): number;
  readonly clients: { quiesce(timeoutMs: number): Promise<void>; settled(): Promise<void> };
  /** Aborted when an operator gives it up. */
  readonly signal: AbortSignal;
};

export type HandedOver = {
  readonly finalLsn: Lsn;
  /** Where the replicas stand: the others have stopped, the target has everything. */
  readonly frozen: readonly Frozen[];
  readonly covered: Covered;
  readonly steps: Steps;
};

/**
 * The planned way to a standstill: traffic is held already; the old primary is made read-only and emptied of clients, and the
 * target receives and replays its last byte. When anything fails all of it is undone.
 * @throws Error with the reason; the old primary takes writes again.
 */
export async function handOver(nodes: ControlNodes, upstreams: Upstreams, plan: HandOver): Promise<HandedOver> {
  const { from, to, signal } = plan;
  const laps = new Laps();
  let covered: Covered | undefined;
  let stopping: Promise<readonly Frozen[]> | null = null;
  try {
    await plan.clients.settled();
    await orGivenUp(Promise.race([plan.clients.quiesce(plan.waitMs), timeout(plan.waitMs + 1000)]), signal);
    laps.lap('transactions');
    // at once: they only have to stop before the promotion
    stopping = freezeAll(nodes, upstreams, plan);
    covered = await quell(nodes, from, plan.epoch);
    const finalLsn = await endOf(nodes, from);
    laps.lap('fence');
    const frozen = await stopping;
    laps.lap('stop');
    await caughtUp(nodes, to, finalLsn, CATCH_UP_MS, signal);
    const newest = frozen.reduce((lsn, f) => maxLsn(lsn, f.replayLsn), finalLsn);
    if (newest > finalLsn) await caughtUp(nodes, to, newest, AFTERMATH_MS, signal).catch(() => {});
    // its receiver ends with the promotion
    const target = await standing(nodes, to, plan.timelineOf(to));
    laps.lap('catch up');
    throwIfGivenUp(signal);
    return { finalLsn, frozen: [...frozen, target], covered, steps: laps.steps };
  } catch (error) {
    await undo(nodes, upstreams, plan, stopping, covered);
    throw error;
  }
}

/** Of one that does not answer nothing is known: it is turned to the new primary when it comes back. */
async function freezeAll(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { others, timelineOf }: HandOver,
): Promise<readonly Frozen[]> {
  const all = others.map((node) => freeze(nodes, upstreams, node, timelineOf(node)).catch(() => null));
  return (await Promise.all(all)).filter((frozen) => frozen !== null);
}

async function undo(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { from, others }: HandOver,
  stopping: Promise<readonly Frozen[]> | null,
  covered: Covered | undefined,
): Promise<void> {
  // nothing was touched
  if (stopping === null) return;
  const back = async (node: string) => {
    await stopping;
    await thaw(nodes, upstreams, node);
  };
  await Promise.allSettled([lift(nodes, from, covered), unread(nodes, from), ...others.map(back)]);
}

/** An operator did not want it any more. */
export class GivenUp extends Error {
  constructor() {
    super('an operator cancelled it');
    this.name = 'GivenUp';
  }
}

function throwIfGivenUp(signal: AbortSignal): void {
  if (signal.aborted) throw new GivenUp();
}

/** @throws GivenUp at once, whatever `promise` waits for */
async function orGivenUp(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  throwIfGivenUp(signal);
  let leave = () => {};
  const given = new Promise<never>((_, reject) => {
    const abort = () => reject(new GivenUp());
    signal.addEventListener('abort', abort, { once: true });
    leave = () => signal.removeEventListener('abort', abort);
  });
  try {
    await Promise.race([promise, given]);
  } finally {
    leave();
  }
}

/** The fence may have failed half-way, before it had its name. */
async function unread(nodes: ControlNodes, node: string): Promise<void> {
  await nodes.alterSystem(node, { default_transaction_read_only: null }, STATEMENT_MS);
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

async function caughtUp(
  nodes: ControlNodes,
  node: string,
  lsn: Lsn,
  limitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const startMs = nowMs();
  const asked = async () => {
    const rows = await nodes.query<{ reached: boolean }>(
      node,
      'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached',
      [formatLsn(lsn)],
      STATEMENT_MS,
    );
    return rows[0]?.reached === true ? true : null;
  };
  if ((await until(limitMs, asked, signal)) !== null) return;
  throwIfGivenUp(signal);
  throw new Error(`${node} did not replay ${formatLsn(lsn)} within ${Math.round(nowMs() - startMs)} ms`);
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
