/** The phases in which a primary is replaced: fencing, electing, promoting, repointing. Pure, like `decide.ts`. */
import { bytesBetween, formatLsn, LSN_ZERO } from '../core/lsn.ts';
import { rejoinReason } from './adopt.ts';
import { electFrozen } from './candidates.ts';
import { vetoesInWords } from './elect.ts';
import { fenceOf, lostFence, overtakenBy, willOf } from './lost-candidates.ts';
import { move } from './phases.ts';
import {
  type Action,
  type Decision,
  type Outcome,
  type Plan,
  type Request,
  type State,
  TRANSACTIONS_MS,
} from './state.ts';
import { event, halt, stay } from './steps.ts';
import { nodeOf, type View } from './view.ts';

/** At most this many lost commits are named in an event. */
const NAMED_COMMITS = 1000;

/** Nobody is primary from here on; the epoch rises before anything else is touched. */
export function begin(
  state: State,
  view: View,
  kind: Plan['kind'],
  to: string | null,
  cause: string,
  nowMs: number,
  request: Request | null = null,
): Decision {
  const { former } = state;
  const epoch = Math.max(state.epoch, state.markedEpoch) + 1;
  const refused = new Map<string, string>();
  const { newestLsn } = view;
  const allowDataLoss = request?.allowDataLoss === true;
  const waitMs = request?.waitMs ?? TRANSACTIONS_MS;
  const plan: Plan = { kind, former, to, startedMs: nowMs, newestLsn, frozen: [], refused, allowDataLoss };
  const reason =
    kind === 'planned' ? `${former} hands over to ${to}: ${cause}` : `${former ?? 'the primary'} is given up: ${cause}`;
  const planned = kind === 'planned' && former !== null && to !== null;
  const work = planned ? 'hand over' : 'freeze';
  const replicas = view.nodes.filter(
    (n) =>
      n.seen?.role === 'replica' &&
      n.name !== former &&
      fenceOf(state, n, willOf(plan)) === null &&
      (state.systemId === null || n.seen.systemId === state.systemId),
  );
  const action: Action = planned
    ? { kind: 'hand over', from: former, to, epoch, waitMs }
    : { kind: 'freeze', nodes: replicas.map((n) => n.name), former, force: kind === 'forced' };
  return {
    state: move(state, 'fencing', { epoch, primary: null, plan, work, reason, sinceMs: nowMs }),
    actions: [event('fencing', reason, { from: former, to, epoch, newestLsn: formatLsn(plan.newestLsn) }), action],
  };
}

export function decideChange(state: State, view: View, nowMs: number): Decision {
  const answer = step(state, view, nowMs);
  if (view.request === null) return answer;
  return { state: answer.state, actions: [...answer.actions, { kind: 'refuse', reason: `busy: ${state.reason}` }] };
}

function step(state: State, view: View, nowMs: number): Decision {
  const { plan } = state;
  if (plan === null) throw new Error(`phase ${state.phase} without a plan`);
  const { outcome } = view;
  if (state.phase === 'electing' && state.work === null) return electing(state, plan, view, nowMs);
  if (outcome === null || outcome.work !== state.work) return stay(state);
  const idle: State = Object.freeze({ ...state, work: null });
  switch (outcome.work) {
    case 'freeze':
      return frozen(idle, plan, outcome, view, nowMs);
    case 'hand over':
      return handedOver(idle, plan, outcome, nowMs);
    case 'fast-forward':
      return forwarded(idle, plan, outcome);
    case 'promote':
      return outcome.refused === null
        ? promoted(idle, plan, outcome, view, nowMs)
        : notPromoted(idle, plan, outcome, view, nowMs);
    case 'undo':
      return undone(idle, plan, outcome, nowMs);
    case 'repoint':
      return repointed(idle, plan, outcome, nowMs);
    default:
      return stay(idle);
  }
}

function frozen(
  state: State,
  plan: Plan,
  outcome: Extract<Outcome, { work: 'freeze' }>,
  view: View,
  nowMs: number,
): Decision {
  const former = nodeOf(view, plan.former);
  if (plan.kind === 'automatic') {
    // restart first: nothing was promoted yet, and a server that is back on its timeline has lost nothing
    // unless a hook has just made certain that it is off
    const off = outcome.unfenced === null;
    const back = !off && former?.seen?.role === 'primary' && former.seen.systemId === state.systemId;
    if (back || outcome.alive !== null) {
      const reason = back ? `${plan.former} answers again` : (outcome.alive as string);
      const fenced = overtakenBy(state.fenced);
      const change = { primary: plan.former, fenced, plan: null, reason, sinceMs: nowMs, work: 'thaw' as const };
      return {
        state: move(state, back ? 'steady' : 'suspect', change),
        actions: [
          event('primary-returned', reason, { node: plan.former }),
          { kind: 'record epoch', from: plan.former },
          { kind: 'thaw', nodes: null },
        ],
      };
    }
  }
  const unfenced = outcome.unfenced ?? null;
  const warning = unfenced === null ? [] : [notFenced(plan, unfenced)];
  if (unfenced !== null && view.hooks.fenceRequired) {
    const reason = `it is not certain that ${plan.former ?? 'the old primary'} is off: hooks.fence: ${unfenced}`;
    const refused: Action[] = plan.kind === 'automatic' ? [] : [{ kind: 'refuse', reason }];
    const change = { work: 'thaw' as const, vetoedMs: nowMs };
    return halt(state, reason, nowMs, change, [...warning, { kind: 'thaw', nodes: null }, ...refused]);
  }
  const reason = 'the replicas stand still; their positions are compared';
  const next: Plan = { ...plan, frozen: outcome.frozen };
  return { state: move(state, 'electing', { plan: next, reason, sinceMs: nowMs }), actions: warning };
}

function notFenced(plan: Plan, problem: string): Action {
  return event('fence-hook-failed', `hooks.fence for ${plan.former}: ${problem}`, { node: plan.former });
}

function handedOver(
  state: State,
  plan: Plan,
  outcome: Extract<Outcome, { work: 'hand over' }>,
  nowMs: number,
): Decision {
  if (outcome.refused !== null) {
    const reason = `switchover given up: ${outcome.refused}`;
    return {
      state: move(state, 'steady', { primary: plan.former, plan: null, reason, sinceMs: nowMs }),
      actions: [
        event(outcome.cancelled ? 'switchover-cancelled' : 'switchover-refused', reason, { node: plan.to }),
        { kind: 'record epoch', from: plan.former },
        { kind: 'refuse', reason: outcome.refused },
      ],
    };
  }
  const { frozen, newestLsn, steps = {} } = outcome;
  const next: Plan = { ...plan, frozen, newestLsn, steps };
  return {
    state: move(state, 'electing', { plan: next, reason: `${plan.to} has everything`, sinceMs: nowMs }),
    actions: [],
  };
}

function electing(state: State, plan: Plan, view: View, nowMs: number): Decision {
  const promoted = promotedByOthers(state, plan, view);
  if (promoted !== null) return leaveTo(state, plan, promoted, nowMs);
  const election = electFrozen(state, view, plan);
  if (election.elected !== plan.to && mayBeUndone(state, plan, view)) {
    return undo(state, plan, `${plan.to} may not be promoted: ${vetoesInWords(election)}`);
  }
  const { forward } = election;
  if (forward !== null) {
    const { node, source, lsn, limitMs } = forward;
    const reason = `${node} fetches from ${source} what it lacks up to ${formatLsn(lsn)}`;
    return {
      state: Object.freeze({ ...state, work: 'fast-forward', reason }),
      actions: [event('fast-forward', reason, { node, source }), { kind: 'fast-forward', node, source, lsn, limitMs }],
    };
  }
  if (election.elected === null) {
    const reason = `no replica may be promoted: ${vetoesInWords(election, plan.notForwarded) || 'none answers'}`;
    const refused: Action[] = plan.kind === 'automatic' ? [] : [{ kind: 'refuse', reason }];
    return halt(state, reason, nowMs, { work: 'thaw' }, [{ kind: 'thaw', nodes: null }, ...refused]);
  }
  const node = election.elected;
  const timeline = plan.frozen.find((f) => f.node === node)?.timeline ?? state.timeline;
  const reason = `${node} is promoted at ${formatLsn(election.receiveLsn)}`;
  const { lossBytes, vetoes, doubt } = election;
  const proven = view.standing !== null && doubt === null;
  const detail = { node, lossBytes, vetoes };
  const overridden = `an operator accepts that ${node} may lack acknowledged commits: ${doubt}`;
  return {
    state: move(state, 'promoting', { plan: { ...plan, proven }, work: 'promote', reason, sinceMs: nowMs }),
    actions: [
      ...(doubt === null ? [] : [event('data-loss-allowed', overridden, { node, doubt, vetoes })]),
      event('elected', reason, detail),
      { kind: 'promote', node, timeline, receiveLsn: election.receiveLsn },
    ],
  };
}

/** Somebody else, an operator for instance, was quicker: a second promotion would make a twin of its timeline. */
function promotedByOthers(state: State, plan: Plan, view: View): string | null {
  const { timeline, systemId } = state;
  const found = view.nodes.find(
    ({ name, seen }) =>
      name !== plan.former &&
      seen?.role === 'primary' &&
      seen.systemId === systemId &&
      seen.timeline > timeline &&
      !state.fenced.has(name),
  );
  return found === undefined ? null : `${found.name} was promoted to timeline ${found.timeline} by somebody else`;
}

/** The replicas are turned back, and whoever is the primary is looked for as at the start. */
function leaveTo(state: State, plan: Plan, reason: string, nowMs: number): Decision {
  const refused: Action[] = plan.kind === 'automatic' ? [] : [{ kind: 'refuse', reason }];
  return {
    state: move(state, 'starting', { plan: null, work: 'thaw', reason, sinceMs: nowMs }),
    actions: [event('primary-changed', reason, { node: plan.former }), { kind: 'thaw', nodes: null }, ...refused],
  };
}

/** However it ended, positions are compared once more. */
function forwarded(state: State, plan: Plan, outcome: Extract<Outcome, { work: 'fast-forward' }>): Decision {
  const { node, source, refused } = outcome;
  const frozen = plan.frozen.map((one) => (one.node === node ? (outcome.frozen ?? one) : one));
  if (refused === null) return stay(Object.freeze({ ...state, plan: { ...plan, frozen } }));
  const reason = `${node} did not get what ${source} has: ${refused}`;
  const notForwarded = new Map(plan.notForwarded).set(node, reason);
  return {
    state: Object.freeze({ ...state, plan: { ...plan, frozen, notForwarded }, reason }),
    actions: [event('fast-forward-failed', reason, { node, source })],
  };
}

function notPromoted(
  state: State,
  plan: Plan,
  outcome: Extract<Outcome, { work: 'promote'; refused: string }>,
  view: View,
  nowMs: number,
): Decision {
  const refused = new Map(plan.refused).set(outcome.node, outcome.refused);
  const fenced = new Map(state.fenced);
  // two nodes on new timelines of the same number would be twins: the one of unknown fate is out for good
  if (outcome.uncertain) fenced.set(outcome.node, lostFence(state, outcome.node, outcome.refused, outcome.toldRun));
  const reason = `${outcome.node} could not be promoted: ${outcome.refused}`;
  const next = move(state, 'electing', { plan: { ...plan, refused }, fenced, reason, sinceMs: nowMs });
  if (mayBeUndone(next, plan, view)) return undo(next, plan, reason);
  return {
    state: next,
    actions: [event('promotion-failed', reason, { node: outcome.node })],
  };
}

/** The old primary of a switchover answers, and stands where it stood: nothing is lost, and nobody waits, if it goes on. */
function mayBeUndone(state: State, plan: Plan, view: View): boolean {
  const seen = nodeOf(view, plan.former)?.seen ?? null;
  return (
    plan.kind === 'planned' &&
    seen?.role === 'primary' &&
    seen.systemId === state.systemId &&
    seen.timeline === state.timeline
  );
}

function undo(state: State, plan: Plan, why: string): Decision {
  return {
    state: Object.freeze({ ...state, work: 'undo', reason: `switchover undone: ${why}` }),
    actions: [{ kind: 'undo', from: plan.former as string, target: plan.to }],
  };
}

/** Where it failed nobody else is promoted: some of it may have been done, and the old primary take writes. */
function undone(state: State, plan: Plan, outcome: Extract<Outcome, { work: 'undo' }>, nowMs: number): Decision {
  const refused: Action = { kind: 'refuse', reason: state.reason };
  if (outcome.problem !== null) {
    return halt(state, `${state.reason}; but ${plan.former}: ${outcome.problem}`, nowMs, {}, [refused]);
  }
  return {
    state: move(state, 'steady', {
      primary: plan.former,
      fenced: overtakenBy(state.fenced),
      plan: null,
      sinceMs: nowMs,
    }),
    actions: [
      event('switchover-refused', state.reason, { node: plan.to }),
      { kind: 'record epoch', from: plan.former },
      refused,
    ],
  };
}

function promoted(
  state: State,
  plan: Plan,
  outcome: Extract<Outcome, { work: 'promote'; refused: null }>,
  view: View,
  nowMs: number,
): Decision {
  const { node, timeline, parentTimeline, forkLsn } = outcome;
  const { former } = plan;
  const fenced = overtakenBy(state.fenced);
  fenced.delete(node);
  if (former !== null) {
    fenced.set(former, { sinceEpoch: state.epoch, reason: rejoinReason(parentTimeline, timeline, forkLsn, null) });
  }
  const { unproven = [], provenUntilMs } = outcome;
  const newestLsn = plan.newestLsn === LSN_ZERO ? forkLsn : plan.newestLsn;
  const lostBytes = bytesBetween(forkLsn, newestLsn);
  const took = Math.round(nowMs - plan.startedMs);
  const reason = `${node} is the primary on timeline ${timeline}${former === null ? '' : ` after ${former}`}`;
  const detail = {
    from: former,
    to: node,
    epoch: state.epoch,
    oldTimeline: parentTimeline,
    newTimeline: timeline,
    forkLsn: formatLsn(forkLsn),
    oldPrimaryLsn: formatLsn(newestLsn),
    lostBytes,
    lostCommits: outcome.lostCommits.slice(0, NAMED_COMMITS).map((commit) => ({
      endLsn: formatLsn(commit.endLsn),
      commitTime: new Date(commit.commitMs).toISOString(),
      tables: commit.tables,
    })),
    lostCommitCount: outcome.lostCommits.length,
    journal: outcome.journal ?? null,
    unprovenWrites: unproven.slice(0, NAMED_COMMITS).map(({ wallMs, tables, client }) => ({
      acknowledgedAt: new Date(wallMs).toISOString(),
      tables,
      client,
    })),
    unprovenWriteCount: unproven.length,
    holdMs: took,
    steps: { ...plan.steps, ...outcome.steps },
    kind: plan.kind,
    proven: plan.proven ?? false,
  };
  const { nextXid } = outcome;
  const known = nextXid === undefined ? {} : { nextXid };
  const fork = { timeline, parentTimeline, forkLsn, epoch: state.epoch, ...known };
  const others = view.nodes.filter((n) => n.name !== node && n.name !== former && n.seen?.role === 'replica');
  const name = plan.kind === 'planned' ? 'switchover' : 'failover';
  const demoted =
    plan.kind === 'planned' && node === plan.to && nodeOf(view, former)?.demotable === true ? former : null;
  return {
    state: move(state, 'repointing', {
      primary: node,
      former: node,
      timeline,
      fenced,
      forks: [...state.forks, unproven.length === 0 || provenUntilMs === undefined ? fork : { ...fork, provenUntilMs }],
      work: 'repoint',
      reason,
      sinceMs: nowMs,
      // what was seen of it before is what it was as a replica
      heardFromMs: nowMs,
      promotionsMs: plan.kind === 'automatic' ? [...state.promotionsMs, nowMs].slice(-20) : state.promotionsMs,
    }),
    actions: [
      event(name, `${reason}; ${lossInWords(plan, lostBytes, unproven.length)}`, detail),
      { kind: 'record epoch', from: former },
      // before it writes anything of its own, which would have to be rewound
      ...(demoted === null ? [] : [{ kind: 'demote', node: demoted, primary: node } as const]),
      { kind: 'repoint', nodes: others.map((n) => n.name).filter((n) => !fenced.has(n)), primary: node, demoted },
    ],
  };
}

function repointed(state: State, plan: Plan, outcome: Extract<Outcome, { work: 'repoint' }>, nowMs: number): Decision {
  const problems = [...outcome.problems].map(([node, problem]) => `${node}: ${problem}`).join('; ');
  const message =
    problems === ''
      ? `all replicas follow ${state.primary}`
      : `not every replica follows ${state.primary}: ${problems}`;
  return {
    state: move(state, 'steady', { plan: null, sinceMs: nowMs }),
    actions: [
      event(problems === '' ? 'repointed' : 'repoint-incomplete', message, {
        problems: Object.fromEntries(outcome.problems),
      }),
      ...(plan.kind === 'automatic' ? [] : [{ kind: 'answer' } as const]),
    ],
  };
}

/** What nobody told us of cannot be counted: after a crash zero means that no loss is known. */
function lossInWords(plan: Plan, lostBytes: number, unproven: number): string {
  const doubt =
    unproven === 0
      ? ''
      : `; ${unproven} acknowledged write${unproven === 1 ? ' is' : 's are'} not proven to have survived`;
  const proof = plan.proven === true ? '; every acknowledged commit that waited for followers is there' : '';
  if (lostBytes > 0) return `${lostBytes} bytes of WAL that ${plan.former} had written are lost${doubt}${proof}`;
  if (plan.kind === 'planned') return 'nothing is lost';
  return proof === '' ? `no loss is known${doubt}` : `nothing is lost that waited for followers${doubt}`;
}
