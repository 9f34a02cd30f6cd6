import { LSN_ZERO } from '../core/lsn.ts';
import { type Candidate, type Election, elect } from './elect.ts';
import type { Plan, State } from './state.ts';
import type { NodeView, View } from './view.ts';

/** Would anybody be elected? By the positions last observed, before anything is touched. Pure. */
export function preview(state: State, view: View, kind: Plan['kind'], to: string | null): Election {
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
    return { ...basics(node), position, veto: vetoOf(state, node) };
  });
  // a planned change waits for the target to catch up, and an operator who forces it accepts the loss
  const newestLsn = kind === 'automatic' ? view.newestLsn : LSN_ZERO;
  return elect(candidates, rulesOf(state, view, kind, to, newestLsn));
}

/** The election proper: by the positions at which the replicas stopped. Pure. */
export function electFrozen(state: State, view: View, plan: Plan): Election {
  const candidates = others(state, view).map((node): Candidate => {
    const frozen = plan.frozen.find((f) => f.node === node.name);
    const position =
      frozen === undefined ? null : { ...frozen, systemId: state.systemId ?? node.seen?.systemId ?? 'unknown' };
    return { ...basics(node), position, veto: plan.refused.get(node.name) ?? vetoOf(state, node) };
  });
  // a planned change promotes the target it made ready; should that fail, anybody may follow
  const to = plan.refused.size === 0 ? plan.to : null;
  return elect(candidates, rulesOf(state, view, plan.kind, to, plan.newestLsn));
}

function others(state: State, view: View): readonly NodeView[] {
  return view.nodes.filter((node) => node.name !== state.former);
}

function basics(node: NodeView) {
  return { name: node.name, weight: node.weight, promotable: node.promotable, drained: node.drained };
}

function vetoOf(state: State, node: NodeView): string | null {
  const fence = state.fenced.get(node.name);
  if (fence !== undefined) return fence.reason;
  return node.failure === null ? null : `does not answer: ${node.failure.message}`;
}

function rulesOf(state: State, view: View, kind: Plan['kind'], to: string | null, newestLsn: bigint) {
  return {
    systemId: state.systemId,
    timeline: state.timeline,
    newestLsn: newestLsn as typeof LSN_ZERO,
    maxLossBytes: kind === 'automatic' ? view.maxLossBytes : Number.POSITIVE_INFINITY,
    to,
  };
}
