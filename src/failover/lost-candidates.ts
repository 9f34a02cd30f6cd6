/**
 * Candidates that were told to promote and lost: they may have become primaries, and are fenced. PostgreSQL forgets that it was told when it
 * is started again: as a replica such a one was not promoted, and as long as nobody else was it may be elected once more. Pure.
 */
import type { Fence } from '../cluster/assignment.ts';
import type { Plan, State } from './state.ts';
import type { NodeView } from './view.ts';

/** One that dies in each promotion is left to an operator. */
const MOST_LOSSES = 3;

/** Who wants somebody promoted: Fairlead itself, an operator, or one who accepts that commits are missing. */
export type Will = 0 | 1 | 2;

export function willOf({ kind, allowDataLoss = false }: Pick<Plan, 'kind' | 'allowDataLoss'>): Will {
  if (kind !== 'forced') return 0;
  return allowDataLoss ? 2 : 1;
}

/** Why it must not be used; null: it may. */
export function fenceOf(state: State, { name, seen }: NodeView, will: Will = 0): string | null {
  const fence = state.fenced.get(name);
  if (fence === undefined) return null;
  const { reason, toldRun, losses = 0, overtaken = false } = fence;
  const again = seen?.role === 'replica' && seen.startedAt !== undefined && seen.startedAt !== toldRun;
  if (toldRun === undefined || !again) return reason;
  if (overtaken) return will === 2 ? null : `${reason}; fairlead failover --allow-data-loss may promote it`;
  if (losses < MOST_LOSSES || will > 0) return null;
  return `${reason} (${losses} times); fairlead failover tries once more`;
}

/** @param toldRun when the server that was told was started; null or absent: not known */
export function lostFence(state: State, node: string, reason: string, toldRun: number | null | undefined): Fence {
  const losses = (state.fenced.get(node)?.losses ?? 0) + 1;
  const fence = { sinceEpoch: state.epoch, reason, losses };
  return toldRun === null || toldRun === undefined ? fence : { ...fence, toldRun };
}

/** Somebody is the primary: whoever was lost before may be its twin, and comes back by following it. */
export function overtakenBy(fenced: ReadonlyMap<string, Fence>): Map<string, Fence> {
  const after = (fence: Fence) => (fence.toldRun === undefined ? fence : { ...fence, overtaken: true });
  return new Map([...fenced].map(([node, fence]) => [node, after(fence)]));
}
