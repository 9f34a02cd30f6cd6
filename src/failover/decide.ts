/**
 * The controller's mind: state and view in, next state and actions out, no clock and no effect of its own.
 * This file has the phases in which nobody is replaced; `decide-change.ts` has the others.
 */

import { conditionInWords } from '../cluster/condition.ts';
import { preview } from './candidates.ts';
import { chores } from './chores.ts';
import { begin, decideChange } from './decide-change.ts';
import {
  adoptFrom,
  fencedObstacle,
  nobodyAnswers,
  noteEpochs,
  stillFenced,
  systemIdOf,
  unfinishedOf,
  writableOf,
} from './decide-start.ts';
import { beginUnlessVetoed, validated } from './decide-veto.ts';
import { type Election, isHopeless, vetoesInWords } from './elect.ts';
import { flapping } from './flapping.ts';
import { overtakenBy } from './lost-candidates.ts';
import { move } from './phases.ts';
import { isSuspicious, mayReturn, troubleOf } from './silence.ts';
import type { Action, Decision, Plan, Request, State } from './state.ts';
import { event, halt, refuse, remain, stay } from './steps.ts';
import { type NodeView, nodeOf, obeys, type View } from './view.ts';
import { testimonyOf } from './witness.ts';

/** Our timer came this late: we stood still, not the primary. */
const LATE_MS = 1000;

/** One that was told to promote, and has nothing left to replay, is a primary long before this. */
const TOLD_MS = 5000;

/** A halted controller looks at its options again after this. */
const HALT_MS = 2000;

export function decide(before: State, view: View, nowMs: number): Decision {
  const late = view.lateMs > LATE_MS;
  let state = noteEpochs(late ? Object.freeze({ ...before, heardFromMs: nowMs }) : before, view);
  if (view.outcome?.work === 'thaw' && state.work === 'thaw' && state.phase !== 'starting')
    state = Object.freeze({ ...state, work: null });
  switch (state.phase) {
    case 'starting':
      return starting(state, view, nowMs);
    case 'steady':
      return steady(state, view, nowMs);
    case 'suspect':
      return suspect(state, view, nowMs);
    case 'halted':
      return halted(state, view, nowMs);
    case 'fencing':
    case 'electing':
    case 'promoting':
    case 'repointing':
      return decideChange(state, view, nowMs);
    default:
      return state.phase satisfies never;
  }
}

function starting(state: State, view: View, nowMs: number): Decision {
  if (view.request !== null) return refuse(state, `no primary is assigned yet: ${state.reason}`);
  if (state.work === 'inspect') {
    return view.outcome?.work === 'inspect' ? adoptFrom(state, view, view.outcome, nowMs) : stay(state);
  }
  if (state.work === 'thaw' && view.outcome?.work === 'thaw') {
    // they get as long as after a start to find their primary; who could not be turned back waits for somebody to mend it
    const stuck = new Set([...state.stuck, ...view.outcome.problems.keys()]);
    return stay(Object.freeze({ ...state, work: null, heardFromMs: nowMs, stuck }));
  }
  if (state.work !== null) return stay(state);
  const waitedMs = nowMs - Math.max(state.sinceMs, state.heardFromMs);
  const everybodyAsked = view.nodes.every((node) => node.asked);
  if (!everybodyAsked && waitedMs < view.timeoutMs) return stay(state);
  const systemId = systemIdOf(state, view);
  const writable = writableOf(state, view, systemId);
  const { told, held: marked } = unfinishedOf(view, systemId);
  // what was seen before they were turned back is over
  const held = marked.filter(({ name, seen }) => !state.stuck.has(name) && (seen?.startedMs ?? 0) >= state.heardFromMs);
  if (writable.length > 0) {
    const expected = told.find((node) => writable.every(({ seen }) => (seen?.timeline ?? 0) <= node.timeline));
    if (expected !== undefined && waitedMs < TOLD_MS) {
      // whoever is adopted before that is known might take writes that nobody else will have
      return stay(
        Object.freeze({ ...state, reason: `${expected.name} was told to promote: it may become the primary` }),
      );
    }
    const obstacle = obeys(view) ? null : fencedObstacle(state, writable, view);
    if (obstacle !== null) return waitedMs < view.timeoutMs ? stay(state) : halt(state, obstacle, nowMs, { systemId });
    const lift = obeys(view) ? null : stillFenced(writable, view);
    return {
      state: Object.freeze({ ...state, work: 'inspect' }),
      actions: [{ kind: 'inspect', nodes: writable.map((n) => n.name), ...(lift === null ? {} : { lift }) }],
    };
  }
  if (held.length > 0 && told.length === 0 && !obeys(view)) {
    // as they are now their silence tells nothing: they get the chance to find a primary that we do not reach
    return {
      state: Object.freeze({ ...state, work: 'thaw' }),
      actions: [{ kind: 'thaw', nodes: held.map((n) => n.name) }],
    };
  }
  if (waitedMs < view.timeoutMs) return stay(state);
  const replicas = view.nodes.filter((n) => n.seen?.role === 'replica');
  if (state.epoch === 0 && replicas.length > 0) {
    // the next epoch has to be above the last one, and the replicas have it on record
    const known = Object.freeze({ ...state, systemId, work: 'inspect' as const });
    return { state: known, actions: [{ kind: 'inspect', nodes: replicas.map((n) => n.name) }] };
  }
  return nobodyAnswers(Object.freeze({ ...state, systemId }), nowMs);
}

function steady(state: State, view: View, nowMs: number): Decision {
  const primary = nodeOf(view, state.primary);
  if (primary === null) return stay(state);
  const wrong = notOurPrimary(state, view, primary);
  if (wrong !== null && state.work === null) {
    // while another one is writable, writes are held until it is clear whose they are
    const next = primary.seen?.role === 'primary' && primary.seen.timeline > state.timeline ? state.primary : null;
    return {
      state: move(state, 'starting', { primary: next, reason: wrong, sinceMs: nowMs }),
      actions: [event('primary-changed', wrong, { node: primary.name }), ...refusal(view, wrong)],
    };
  }
  const foreign = isForeign(primary, state);
  if (state.work === null && (foreign || isSuspicious(primary, state, view, nowMs))) {
    const reason = foreign
      ? `another cluster answers at the address of ${primary.name}: system identifier ${primary.seen?.systemId}`
      : `${primary.name} ${conditionInWords(primary.condition)}: ${primary.failure?.message ?? 'no answer'}`;
    const detail = { node: primary.name, condition: primary.condition };
    return {
      state: move(state, 'suspect', { reason, trouble: null, sinceMs: nowMs }),
      actions: [event('suspect', reason, detail), ...refusal(view, reason)],
    };
  }
  const trouble = troubleOf(primary, view, nowMs);
  if (trouble !== null && trouble !== state.trouble) return troubled(state, primary, trouble);
  if (state.trouble !== null && primary.failure === null) {
    const reason = `${primary.name} answers again`;
    return {
      state: Object.freeze({ ...state, trouble: null, reason }),
      actions: [event('primary-returned', reason, { node: primary.name })],
    };
  }
  if (view.request !== null) return requested(state, view, nowMs);
  return chores(state, view, nowMs);
}

/** It lives, and people should know what is wrong with it. */
function troubled(state: State, primary: NodeView, trouble: string): Decision {
  const { name: node, condition } = primary;
  return {
    state: Object.freeze({ ...state, trouble, reason: trouble }),
    actions: [event('primary-troubled', trouble, { node, condition })],
  };
}

function suspect(before: State, view: View, nowMs: number): Decision {
  const { state, answer } = validated(before, view, nowMs);
  if (state.work !== null) return stay(state);
  if (view.request !== null) return requested(state, view, nowMs);
  const former = nodeOf(view, state.former);
  const wrong = former === null ? null : notOurPrimary(state, view, former);
  // whoever decides elsewhere may make a primary without a new timeline
  const found = writableOf(state, view, state.systemId).some((n) => former === null || (obeys(view) && n !== former));
  if (wrong !== null || found) {
    const reason = wrong ?? 'a primary answers';
    return { state: move(state, 'starting', { primary: null, reason, sinceMs: nowMs }), actions: [] };
  }
  // restart first: the same server on the same timeline lost nothing
  const alive = former !== null && !isForeign(former, state) && !isSuspicious(former, state, view, nowMs);
  if (alive && former !== null) {
    const reason =
      former.seen === null
        ? `${former.name} is alive: ${conditionInWords(former.condition)}: ${former.failure?.message}`
        : `${former.name} answers again`;
    const trouble = former.seen === null ? reason : null;
    return {
      state: move(state, 'steady', {
        ...{ primary: former.name, reason, trouble, sinceMs: nowMs },
        fenced: overtakenBy(state.fenced),
      }),
      actions: [event('primary-returned', reason, { node: former.name })],
    };
  }
  if (state.epoch === 0 && view.nodes.some((n) => n.seen?.role === 'replica')) {
    return { state: move(state, 'starting', { sinceMs: nowMs - view.timeoutMs }), actions: [] };
  }
  const testimony = testimonyOf(state, view);
  if (!testimony.dead) return remain(state, testimony.reason);
  const obstacle = automaticObstacle(state, view, nowMs) ?? mayReturn(former, state, view, nowMs);
  if (obstacle !== null)
    return remain(state, `${state.former ?? 'the primary'} is dead (${testimony.reason}); ${obstacle}`);
  const election = preview(state, view, 'automatic', null);
  if (isHopeless(election)) return halt(state, `no replica may be promoted: ${vetoesInWords(election)}`, nowMs);
  return beginUnlessVetoed(state, view, election.elected, testimony.reason, answer, nowMs);
}

function halted(before: State, view: View, nowMs: number): Decision {
  const { state, answer } = validated(before, view, nowMs);
  if (state.work !== null) return stay(state);
  if (view.request !== null) return requested(state, view, nowMs);
  if (nowMs - state.sinceMs < HALT_MS) return stay(state);
  const writable = writableOf(state, view, state.systemId);
  if (writable.length > 0) {
    const obstacle = obeys(view) ? null : fencedObstacle(state, writable, view);
    if (obstacle !== null) return remain(state, obstacle);
    return { state: move(state, 'starting', { sinceMs: nowMs }), actions: [] };
  }
  const testimony = testimonyOf(state, view);
  if (!testimony.dead || automaticObstacle(state, view, nowMs) !== null) return stay(state);
  const election = preview(state, view, 'automatic', null);
  if (!isHopeless(election)) return beginUnlessVetoed(state, view, election.elected, testimony.reason, answer, nowMs);
  return remain(state, `no replica may be promoted: ${vetoesInWords(election)}`);
}

/** An operator's wish: refused with a reason, or begun. */
function requested(state: State, view: View, nowMs: number): Decision {
  const { request } = view;
  if (request === null) return stay(state);
  const { refused, kind, election } = judge(state, view, request);
  if (refused !== null) return refuse(state, refused);
  const reason = `an operator asked for a ${request.kind}`;
  return begin(state, view, kind, kind === 'planned' ? election.elected : null, reason, nowMs, request);
}

type Verdict = { readonly kind: Plan['kind'] } & (
  | { readonly refused: string; readonly election: Election | null }
  | { readonly refused: null; readonly election: Election }
);

/** Whether an operator's wish would be granted now, and who would be elected. */
export function judge(state: State, view: View, request: Request): Verdict {
  const kind: Plan['kind'] = request.kind === 'switchover' ? 'planned' : 'forced';
  const no = (refused: string): Verdict => ({ kind, refused, election: null });
  if (obeys(view)) return no(`failover.mode is ${view.mode}`);
  if (state.plan !== null) return no(`busy: ${state.reason}`);
  if (state.work !== null) return no(`busy: ${state.work}`);
  if (kind === 'planned' && (state.phase !== 'steady' || nodeOf(view, state.primary)?.seen?.role !== 'primary')) {
    return no(`a switchover needs a primary that answers; ${state.reason}`);
  }
  if (request.to !== null && nodeOf(view, request.to) === null) return no(`no node is called ${request.to}`);
  if (request.to !== null && request.to === state.primary) return no(`${request.to} is the primary already`);
  const election = preview(state, view, kind, request.to, request.allowDataLoss === true);
  if (!isHopeless(election)) return { kind, refused: null, election };
  return { kind, refused: vetoesInWords(election) || 'there is no replica', election };
}

/** What keeps Fairlead from acting by itself, or null. */
function automaticObstacle(state: State, view: View, nowMs: number): string | null {
  if (view.mode === 'follow') return 'failover.mode is follow: somebody else has to promote a replica';
  if (view.mode !== 'automatic') return `failover.mode is ${view.mode}: nothing is promoted unless an operator asks`;
  return flapping(state, view.maxPromotions, nowMs);
}

/** Why the assignment no longer matches what answers, or null. A question asked before the promotion has an outdated answer. */
function notOurPrimary(state: State, view: View, primary: NodeView): string | null {
  const { seen } = primary;
  if (seen !== null && seen.systemId === state.systemId && seen.startedMs >= state.heardFromMs) {
    if (seen.role === 'replica') return `${primary.name} answers as a replica now`;
    if (seen.timeline > state.timeline)
      return `${primary.name} moved from timeline ${state.timeline} to ${seen.timeline}`;
  }
  const usurper = view.nodes.find(
    (n) =>
      n !== primary &&
      n.seen?.role === 'primary' &&
      n.seen.systemId === state.systemId &&
      n.seen.timeline > state.timeline &&
      !state.fenced.has(n.name),
  );
  if (usurper === undefined) return null;
  return `${usurper.name} was promoted to timeline ${usurper.seen?.timeline} by somebody else`;
}

function isForeign(node: NodeView, state: State): boolean {
  return node.seen !== null && state.systemId !== null && node.seen.systemId !== state.systemId;
}

function refusal(view: View, reason: string): Action[] {
  return view.request === null ? [] : [{ kind: 'refuse', reason }];
}
