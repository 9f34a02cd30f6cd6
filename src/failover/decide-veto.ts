/** A hook of the user's may keep a failover from beginning. Pure, like `decide.ts`. */
import { begin } from './decide-change.ts';
import type { Decision, Outcome, State } from './state.ts';
import { remain, stay } from './steps.ts';
import type { View } from './view.ts';

/** After a hook has said no it is asked again. */
const AGAIN_MS = 5000;

export type Answer = Extract<Outcome, { work: 'validate' }> | null;

/** Takes the hook's answer, where there is one now. */
export function validated(state: State, view: View, nowMs: number): { readonly state: State; readonly answer: Answer } {
  if (state.work !== 'validate' || view.outcome?.work !== 'validate') return { state, answer: null };
  const answer = view.outcome;
  const vetoedMs = answer.refused === null ? null : nowMs;
  return { state: Object.freeze({ ...state, work: null, vetoedMs }), answer };
}

/** Begins an automatic failover; where a hook is to be asked, after it has agreed just now. */
export function beginUnlessVetoed(
  state: State,
  view: View,
  elected: string | null,
  cause: string,
  answer: Answer,
  nowMs: number,
): Decision {
  const { former, vetoedMs } = state;
  if (answer !== null && answer.refused !== null) {
    return remain(state, `${former ?? 'the primary'} is dead (${cause}); hooks.validate says no: ${answer.refused}`);
  }
  if (answer === null && vetoedMs !== null && nowMs - vetoedMs < AGAIN_MS) return stay(state);
  if (!view.hooks.validate || answer !== null) return begin(state, view, 'automatic', null, cause, nowMs);
  return {
    state: Object.freeze({ ...state, work: 'validate' as const }),
    actions: [{ kind: 'validate', from: former, to: elected, reason: cause }],
  };
}
