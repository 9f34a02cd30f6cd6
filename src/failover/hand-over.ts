import { nowMs } from '../core/clock.ts';
import { endOfLastRecord, formatLsn, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { type Covered, coverOf, dismiss, putBack, quellAtOnce } from './fence.ts';
import { freeze, standing, thaw } from './freeze.ts';
import { Laps, type Steps } from './laps.ts';
import { patiently } from './patiently.ts';
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
  /** What has to be set on the target before it is promoted; it may be done long before. */
  prepare(): Promise<void>;
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
 * The planned way to a standstill: traffic is held already; the old primary is emptied of clients and made read-only, and the
 * target receives and replays its last byte. When anything fails all of it is undone.
 * @throws Error with the reason; the old primary takes writes again.
 */
export async function handOver(nodes: ControlNodes, upstreams: Upstreams, plan: HandOver): Promise<HandedOver> {
  const { from, signal } = plan;
  const laps = new Laps();
  let covered: Covered | undefined;
  let stopping: Promise<readonly Frozen[]> | null = null;
  try {
    await plan.clients.settled();
    const quiet = orGivenUp(Promise.race([plan.clients.quiesce(plan.waitMs), timeout(plan.waitMs + 1000)]), signal);
    const [cover] = await Promise.all([coverOf(nodes, from), plan.prepare(), quiet]);
    laps.lap('transactions');
    covered = cover;
    // before the others stop: with synchronous replication it may be them that what a session does at its end waits for
    await dismiss(nodes, from);
    // they only have to stop before the promotion
    stopping = freezeAll(nodes, upstreams, plan);
    await quellAtOnce(nodes, from, plan.epoch, cover);
    const finalLsn = await endOf(nodes, from);
    laps.lap('fence');
    const frozen = await stopping;
    laps.lap('stop');
    // its receiver ends with the promotion
    let target = await caughtUp(nodes, plan, finalLsn, CATCH_UP_MS);
    const newest = frozen.reduce((lsn, f) => maxLsn(lsn, f.replayLsn), finalLsn);
    if (target.replayLsn < newest) target = await caughtUp(nodes, plan, newest, AFTERMATH_MS).catch(() => target);
    laps.lap('catch up');
    throwIfGivenUp(signal);
    return { finalLsn, frozen: [...frozen, target], covered, steps: laps.steps };
  } catch (error) {
    // otherwise nothing was touched
    if (stopping !== null) await undo(nodes, upstreams, plan, stopping, covered);
    throw error;
  }
}

/** Of one that does not answer nothing is known: it is turned to the new primary when it comes back. */
async function freezeAll(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { others, timelineOf, epoch }: HandOver,
): Promise<readonly Frozen[]> {
  const all = others.map((node) => freeze(nodes, upstreams, node, timelineOf(node), epoch).catch(() => null));
  return (await Promise.all(all)).filter((frozen) => frozen !== null);
}

async function undo(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { from, others }: HandOver,
  stopping: Promise<readonly Frozen[]>,
  covered: Covered | undefined,
): Promise<void> {
  const back = async (node: string) => {
    await stopping;
    await thaw(nodes, upstreams, node);
  };
  await Promise.allSettled([putBack(nodes, from, covered), ...others.map(back)]);
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

/** @returns where the target stands, with everything up to `lsn` replayed */
async function caughtUp(
  nodes: ControlNodes,
  { to, timelineOf, signal }: HandOver,
  lsn: Lsn,
  limitMs: number,
): Promise<Frozen> {
  const startMs = nowMs();
  const timeline = timelineOf(to);
  const asked = async () => {
    const at = await patiently(() => standing(nodes, to, timeline), signal);
    return at.replayLsn >= lsn ? at : null;
  };
  const reached = await until(limitMs, asked, signal);
  if (reached !== null) return reached;
  throwIfGivenUp(signal);
  throw new Error(`${to} did not replay ${formatLsn(lsn)} within ${Math.round(nowMs() - startMs)} ms`);
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
