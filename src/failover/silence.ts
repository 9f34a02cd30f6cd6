import { type Condition, conditionInWords } from '../cluster/condition.ts';
import type { State } from './state.ts';
import type { NodeView, View } from './view.ts';

/** Known to be alive although it does not answer. */
const LIVES: ReadonlySet<Condition> = new Set(['refusing', 'overloaded', 'cut off']);

/** How long nothing may listen at a primary's address before that is not taken for a quick restart any more. */
const QUICK_RESTART_MS = 1000;

/** How long the primary has shown no sign of life, in an answer or elsewhere. A time when we stood still ourselves does not count. */
export function silentMs(node: NodeView, state: State, nowMs: number): number {
  return nowMs - Math.max(node.aliveMs ?? state.sinceMs, state.heardFromMs);
}

/**
 * True when it is to be suspected: silent for `failover.timeout`; or its host has said for as long as a quick restart takes that nothing
 * listens there, and nothing else shows that it lives.
 */
export function isSuspicious(node: NodeView, state: State, view: View, nowMs: number): boolean {
  if (silentMs(node, state, nowMs) >= view.timeoutMs) return true;
  const { refusedSinceMs, refusedUntilMs } = node;
  if (refusedSinceMs === null || refusedUntilMs === null) return false;
  // up to the last refusal: it may be back since
  const downMs = Math.min(silentMs(node, state, nowMs), refusedUntilMs - refusedSinceMs);
  return downMs >= Math.min(view.restartWaitMs ?? QUICK_RESTART_MS, view.timeoutMs);
}

/** Restart first: why it may still come back by itself, although it is known to be down; null: it had its time. */
export function mayReturn(node: NodeView | null, state: State, view: View, nowMs: number): string | null {
  const { restartWaitMs } = view;
  if (node === null || restartWaitMs === null) return null;
  const { failure } = node;
  if (failure?.kind !== 'refused' && failure?.kind !== 'starting' && failure?.kind !== 'lost') return null;
  if (silentMs(node, state, nowMs) >= restartWaitMs) return null;
  return `${node.name} has ${restartWaitMs} ms to come back (failover.restart_wait): ${conditionInWords(node.condition)}`;
}

/** What to tell of a primary that lives and has not answered for `failover.timeout`; null: nothing. */
export function troubleOf(node: NodeView, view: View, nowMs: number): string | null {
  const { failure, failingSinceMs, condition } = node;
  if (failure === null || failingSinceMs === null || !LIVES.has(condition) || nowMs - failingSinceMs < view.timeoutMs)
    return null;
  return `${node.name} ${conditionInWords(condition)}: ${failure.message}`;
}
