/**
 * Candidates that were told to promote and lost: they may have become primaries, and are fenced. PostgreSQL forgets that it was told when it
 * is started again: as a replica such a one was not promoted, and as long as nobody else was it may be elected once more. Pure.
 */
import type { Fence } from '../cluster/assignment.ts';
import type { State } from './state.ts';
import type { NodeView } from './view.ts';

/** One that dies in each promotion is left to an operator. */
const MOST_LOSSES = 3;

/** Why it must not be used; null: it may. */
export function fenceOf(state: State, { name, seen }: NodeView): string | null {
  const fence = state.fenced.get(name);
  if (fence === undefined) return null;
  const { toldRun } = fence;
  const again = seen?.role === 'replica' && seen.startedAt !== undefined && seen.startedAt !== toldRun;
  return toldRun !== undefined && again ? null : fence.reason;
}

/** @param toldRun when the server that was told was started; null or absent: not known */
export function lostFence(state: State, node: string, reason: string, toldRun: number | null | undefined): Fence {
  const losses = (state.fenced.get(node)?.losses ?? 0) + 1;
  const fence = { sinceEpoch: state.epoch, losses };
  if (losses >= MOST_LOSSES) return { ...fence, reason: `${reason} (${losses} times)` };
  return toldRun === null || toldRun === undefined ? { ...fence, reason } : { ...fence, reason, toldRun };
}

/** Somebody is the primary: whoever was lost before may be its twin, and comes back by following it only. */
export function withoutRuns(fenced: ReadonlyMap<string, Fence>): Map<string, Fence> {
  return new Map([...fenced].map(([node, { sinceEpoch, reason }]) => [node, { sinceEpoch, reason }]));
}
