import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import { type Candidate, type Election, type ElectionRules, elect, sourceOf, timelineOf } from './elect.ts';
import { fenceOf, type Will, willOf } from './lost-candidates.ts';
import type { Plan, State } from './state.ts';
import { doubtAbout, doubtAt } from './sync/proof.ts';
import type { NodeView, View } from './view.ts';

/** Would anybody be elected? By the positions last observed, before anything is touched. Pure. */
export function preview(
  state: State,
  view: View,
  kind: Plan['kind'],
  to: string | null,
  allowDataLoss = false,
): Election {
  const will = willOf({ kind, allowDataLoss });
  const observed = others(state, view).flatMap(({ name, timeline, seen }): Position[] =>
    seen === null || seen.role !== 'replica' || (state.systemId !== null && seen.systemId !== state.systemId)
      ? []
      : [{ node: name, timeline, receiveLsn: seen.receiveLsn, complete: !seen.replayPaused, exact: true }],
  );
  const candidates = others(state, view).map((node): Candidate => {
    const seen = node.seen;
    const position =
      seen === null || seen.role !== 'replica'
        ? null
        : {
            systemId: seen.systemId,
            timeline: node.timeline,
            receiveLsn: seen.receiveLsn,
            replayLsn: seen.replayLsn,
            paused: seen.replayPaused,
          };
    // a planned change waits until the target has everything
    const doubt = kind === 'planned' ? null : foreseenDoubt(view, position, observed);
    const veto = vetoOf(state, node, will) ?? vetoByPromise(state, view, node, will);
    return { ...basics(node), position, veto, doubt };
  });
  // a planned change waits for the target to catch up, and an operator who forces it accepts the loss
  const newestLsn = kind === 'automatic' ? view.newestLsn : LSN_ZERO;
  const rules = { ...rulesOf(state, view, { kind, allowDataLoss }, to, newestLsn), mayForward: kind !== 'planned' };
  return elect(
    forwarded(candidates, rules, (position) => foreseenDoubt(view, position, observed)),
    rules,
  );
}

/** The election proper: by the positions at which the replicas stopped. Pure. */
export function electFrozen(state: State, view: View, plan: Plan): Election {
  const will = willOf(plan);
  const candidates = others(state, view).map((node): Candidate => {
    const frozen = plan.frozen.find((f) => f.node === node.name);
    const position =
      frozen === undefined ? null : { ...frozen, systemId: state.systemId ?? node.seen?.systemId ?? 'unknown' };
    const everything = plan.kind === 'planned' && (position?.receiveLsn ?? LSN_ZERO) >= plan.newestLsn;
    const doubt = everything ? null : doubtOf(view, position, plan.frozen);
    // whether one that is ready can be reached shows when it is told: a probe that failed says less
    const ready = everything && node.name === plan.to ? { ...node, failure: null } : node;
    const veto =
      plan.refused.get(node.name) ?? vetoOf(state, ready, will) ?? vetoByPromise(state, view, node, will, plan);
    return { ...basics(node), position, veto, doubt, notForwarded: plan.notForwarded?.get(node.name) ?? null };
  });
  // a planned change promotes the target it made ready; should that fail, anybody may follow
  const to = plan.refused.size === 0 ? plan.to : null;
  const rules = rulesOf(state, view, plan, to, plan.newestLsn);
  return elect(
    forwarded(candidates, rules, (position) => doubtOf(view, position, plan.frozen)),
    rules,
  );
}

/** Adds what would speak against each candidate if it had everything that any of them has. */
function forwarded(
  candidates: readonly Candidate[],
  rules: ElectionRules,
  doubtAbout: (position: Candidate['position']) => string | null,
): readonly Candidate[] {
  const source = sourceOf(candidates, rules.systemId, timelineOf(candidates, rules));
  const doubtForwarded = doubtAbout(source?.position ?? null);
  return candidates.map((candidate) => ({ ...candidate, doubtForwarded }));
}

type Position = {
  readonly node: string;
  readonly timeline: number;
  readonly receiveLsn: Lsn;
  readonly complete: boolean;
  readonly exact: boolean;
};

/** Why the one at `position` may lack an acknowledged commit, by what is known of where such commits are. */
function doubtOf(view: View, position: Candidate['position'], all: readonly Position[]): string | null {
  const { standing } = view;
  if (standing === null || position === null) return null;
  if (standing.guarantee === null) return 'no follower could be asked where acknowledged commits are';
  const comparable = all.filter(({ timeline, exact }) => exact && timeline === position.timeline);
  const known = new Map(comparable.map(({ node, receiveLsn }) => [node, receiveLsn]));
  return doubtAbout(standing, view.nodes.length) ?? doubtAt(standing.guarantee, position.receiveLsn, known);
}

/** The same before they stand still. What followers have on record is read only then: one that did not tell yet may know more. */
function foreseenDoubt(view: View, position: Candidate['position'], observed: readonly Position[]): string | null {
  const { standing } = view;
  if (standing === null || standing.witnessed) return doubtOf(view, position, observed);
  const seen = new Set(observed.filter(({ complete }) => complete).map(({ node }) => node));
  const foreseen = { ...standing, seen };
  const asked = standing.guarantee !== null && [...seen].every((node) => standing.seen.has(node));
  return asked ? doubtOf({ ...view, standing: foreseen }, position, observed) : doubtAbout(foreseen, view.nodes.length);
}

function others(state: State, view: View): readonly NodeView[] {
  return view.nodes.filter((node) => node.name !== state.former);
}

function basics(node: NodeView) {
  return { name: node.name, weight: node.weight, promotable: node.promotable, drained: node.drained };
}

function vetoOf(state: State, node: NodeView, will: Will): string | null {
  const fence = fenceOf(state, node, will);
  if (fence !== null) return fence;
  return node.failure === null ? null : `does not answer: ${node.failure.message}`;
}

/** One that a run before may have told to promote, and that is still in recovery, can become a primary at any time: nobody else may. */
function vetoByPromise(state: State, view: View, node: NodeView, will: Will, plan?: Plan): string | null {
  const told = others(state, view).filter(
    ({ name, seen }) =>
      seen?.role === 'replica' &&
      seen.mark?.kind === 'promote' &&
      (state.systemId === null || seen.systemId === state.systemId) &&
      !state.fenced.has(name) &&
      plan?.refused.has(name) !== true,
  );
  const [one, second] = told;
  // the first one was lost, and which of them that was is not known any more
  if (second !== undefined && will === 0) return `${told.map(({ name }) => name).join(' and ')} were told to promote`;
  return one === undefined || told.includes(node) ? null : `${one.name} was told to promote`;
}

function rulesOf(
  state: State,
  view: View,
  { kind, allowDataLoss = false }: Pick<Plan, 'kind' | 'allowDataLoss'>,
  to: string | null,
  newestLsn: Lsn,
): ElectionRules {
  // where acknowledged commits are proven to be there, what the primary wrote beyond them was promised to nobody
  const bounded = kind === 'automatic' && view.standing === null;
  // of a primary that hands over nothing is lost: where the target fails, nobody takes over who lacks a byte
  const limit = bounded ? view.maxLossBytes : Number.POSITIVE_INFINITY;
  return {
    systemId: state.systemId,
    timeline: state.timeline,
    newestLsn,
    maxLossBytes: kind === 'planned' ? 0 : limit,
    to,
    allowDataLoss,
    mayForward: to === null,
  };
}
