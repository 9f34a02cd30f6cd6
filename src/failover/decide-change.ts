/** The phases in which a primary is replaced: fencing, electing, promoting, repointing. Pure, like `decide.ts`. */
import { bytesBetween, formatLsn, LSN_ZERO } from '../core/lsn.ts';
import { rejoinReason } from './adopt.ts';
import { electFrozen } from './candidates.ts';
import { vetoesInWords } from './elect.ts';
import { move } from './phases.ts';
import type { Action, Decision, Outcome, Plan, State } from './state.ts';
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
  allowDataLoss = false,
): Decision {
  const { former } = state;
  const epoch = state.epoch + 1;
  const refused = new Map<string, string>();
  const { newestLsn } = view;
  const plan: Plan = { kind, former, to, startedMs: nowMs, newestLsn, frozen: [], refused, allowDataLoss };
  const reason =
    kind === 'planned' ? `${former} hands over to ${to}: ${cause}` : `${former ?? 'the primary'} is given up: ${cause}`;
  const planned = kind === 'planned' && former !== null && to !== null;
  const work = planned ? 'hand over' : 'freeze';
  const replicas = view.nodes.filter(
    (n) =>
      n.seen?.role === 'replica' &&
      n.name !== former &&
      !state.fenced.has(n.name) &&
      (state.systemId === null || n.seen.systemId === state.systemId),
  );
  const action: Action = planned
    ? { kind: 'hand over', from: former, to, epoch }
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
  if (state.phase === 'electing') return electing(state, plan, view, nowMs);
  const { outcome } = view;
  if (outcome === null || outcome.work !== state.work) return stay(state);
  const idle: State = Object.freeze({ ...state, work: null });
  switch (outcome.work) {
    case 'freeze':
      return frozen(idle, plan, outcome, view, nowMs);
    case 'hand over':
      return handedOver(idle, plan, outcome, nowMs);
    case 'promote':
      return outcome.refused === null
        ? promoted(idle, plan, outcome, view, nowMs)
        : notPromoted(idle, plan, outcome, nowMs);
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
    const back = former?.seen?.role === 'primary' && former.seen.systemId === state.systemId;
    if (back || outcome.alive !== null) {
      const reason = back ? `${plan.former} answers again` : (outcome.alive as string);
      const change = { primary: plan.former, plan: null, reason, sinceMs: nowMs, work: 'thaw' as const };
      return {
        state: move(state, back ? 'steady' : 'suspect', change),
        actions: [event('primary-returned', reason, { node: plan.former }), { kind: 'thaw' }],
      };
    }
  }
  const reason = 'the replicas stand still; their positions are compared';
  const next: Plan = { ...plan, frozen: outcome.frozen };
  return { state: move(state, 'electing', { plan: next, reason, sinceMs: nowMs }), actions: [] };
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
      actions: [event('switchover-refused', reason, { node: plan.to }), { kind: 'refuse', reason: outcome.refused }],
    };
  }
  const next: Plan = { ...plan, frozen: outcome.frozen, newestLsn: outcome.newestLsn };
  return {
    state: move(state, 'electing', { plan: next, reason: `${plan.to} has everything`, sinceMs: nowMs }),
    actions: [],
  };
}

function electing(state: State, plan: Plan, view: View, nowMs: number): Decision {
  const election = electFrozen(state, view, plan);
  if (election.elected === null) {
    const reason = `no replica may be promoted: ${vetoesInWords(election) || 'none answers'}`;
    const refused: Action[] = plan.kind === 'automatic' ? [] : [{ kind: 'refuse', reason }];
    return halt(state, reason, nowMs, { work: 'thaw' }, [{ kind: 'thaw' }, ...refused]);
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

function notPromoted(
  state: State,
  plan: Plan,
  outcome: Extract<Outcome, { work: 'promote'; refused: string }>,
  nowMs: number,
): Decision {
  const refused = new Map(plan.refused).set(outcome.node, outcome.refused);
  const fenced = new Map(state.fenced);
  // two nodes on new timelines of the same number would be twins: the one of unknown fate is out for good
  if (outcome.uncertain) fenced.set(outcome.node, { sinceEpoch: state.epoch, reason: outcome.refused });
  const reason = `${outcome.node} could not be promoted: ${outcome.refused}`;
  return {
    state: move(state, 'electing', { plan: { ...plan, refused }, fenced, reason, sinceMs: nowMs }),
    actions: [event('promotion-failed', reason, { node: outcome.node })],
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
  const fenced = new Map(state.fenced);
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
    kind: plan.kind,
    proven: plan.proven ?? false,
  };
  const { nextXid } = outcome;
  const known = nextXid === undefined ? {} : { nextXid };
  const fork = { timeline, parentTimeline, forkLsn, epoch: state.epoch, ...known };
  const others = view.nodes.filter((n) => n.name !== node && n.name !== former && n.seen?.role === 'replica');
  const name = plan.kind === 'planned' ? 'switchover' : 'failover';
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
      { kind: 'repoint', nodes: others.map((n) => n.name).filter((n) => !fenced.has(n)), primary: node },
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
