import { move } from './phases.ts';
import type { Action, Decision, State } from './state.ts';

/** The small moves that every phase knows. Pure. */

export function stay(state: State): Decision {
  return { state, actions: [] };
}

/** Same phase, perhaps for another reason: that is worth an event. */
export function remain(state: State, reason: string): Decision {
  if (reason === state.reason) return stay(state);
  return { state: Object.freeze({ ...state, reason }), actions: [event(state.phase, reason, { node: state.former })] };
}

/** No primary, and no safe way to one. The same reason is told once. */
export function halt(
  state: State,
  reason: string,
  nowMs: number,
  change: Partial<Omit<State, 'phase'>> = {},
  actions: readonly Action[] = [],
): Decision {
  const told = reason === state.reason ? [] : [event('halted', reason, { node: state.former })];
  const halted = move(state, 'halted', { plan: null, ...change, primary: null, reason, sinceMs: nowMs });
  return { state: halted, actions: [...told, ...actions] };
}

export function refuse(state: State, reason: string): Decision {
  return { state, actions: [{ kind: 'refuse', reason }] };
}

export function event(name: string, message: string, detail: object): Action {
  return { kind: 'event', name, message, detail };
}
