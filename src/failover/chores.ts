import { rejoinReason } from './adopt.ts';
import type { Action, Decision, State } from './state.ts';
import { type NodeView, nodeOf, obeys, type View } from './view.ts';

/** A replica may be without a stream this long before somebody looks at where it is turned to. */
const DEAF_MS = 3000;
/** A former primary that does not answer is taken for gone after this. */
const GONE_MS = 10_000;

/**
 * What has to be put right while a primary is assigned: former primaries are fenced, those that came back as replicas are taken in
 * again, replicas that follow nobody are turned to the primary. Pure.
 */
export function chores(state: State, view: View, nowMs: number): Decision {
  const primary = nodeOf(view, state.primary);
  if (primary?.seen?.role !== 'primary') return { state, actions: [] };
  const actions: Action[] = [];
  const fenced = new Map(state.fenced);
  // a fence of ours may be left from a switchover that was broken off, or the mark of a change whose end nobody saw
  const left = primary.seen.fence != null || primary.seen.mark != null;
  if (primary.quelled || primary.seen.readOnly || left) actions.push({ kind: 'lift', node: primary.name });
  for (const node of view.nodes) {
    const { seen } = node;
    if (node === primary || seen === null || seen.systemId !== state.systemId) continue;
    if (seen.role === 'primary') {
      fence(state, node, fenced, actions);
      if (!node.quelled || !seen.readOnly) actions.push({ kind: 'fence', node: node.name, epoch: state.epoch });
    } else if (fenced.has(node.name)) {
      if (!follows(node, state)) {
        // told to promote, and given up, it is back and was not promoted; it may have been held once more since
        const kind = seen.mark?.kind;
        if ((kind === 'promote' || kind === 'frozen') && isHeld(node, state))
          actions.push({ kind: 'mend', node: node.name, primary: primary.name });
        continue;
      }
      fenced.delete(node.name);
      actions.push({ kind: 'lift', node: node.name });
      actions.push(event('rejoined', node, `${node.name} follows ${primary.name} again`));
    } else if (node.diverged !== null) {
      fenced.set(node.name, { sinceEpoch: state.epoch, reason: node.diverged });
      actions.push(event('diverged', node, `${node.name} cannot follow ${primary.name}: ${node.diverged}`));
    } else if ((node.quelled || isFenced(seen)) && follows(node, state)) {
      // it was taken in, and whoever should have lifted its fence was busy, or failed, or does not run any more
      actions.push({ kind: 'lift', node: node.name });
    } else if (isHeld(node, state) || strays(node, state, nowMs)) {
      actions.push({ kind: 'mend', node: node.name, primary: primary.name });
    }
  }
  if (view.hooks.rejoin) {
    for (const [name, { reason }] of fenced) {
      const node = nodeOf(view, name);
      // two would work on the same data directory
      if (node !== null && !node.hasAgent && needsHelp(node, state, nowMs))
        actions.push({ kind: 'rejoin', node: name, primary: primary.name, reason });
    }
  }
  const next = same(fenced, state.fenced) ? state : Object.freeze({ ...state, fenced });
  // what looks unfinished may be the work of another Fairlead, which decides
  return { state: next, actions: obeys(view) ? actions.filter(({ kind }) => kind === 'event') : actions };
}

/** It came back as it was, or does not come back by itself. */
function needsHelp(node: NodeView, state: State, nowMs: number): boolean {
  if (node.seen?.role === 'primary') return node.quelled;
  return node.seen === null && nowMs - state.sinceMs > GONE_MS;
}

/** Notes a former primary, and once it is seen how far it had written. */
function fence(
  state: State,
  node: NodeView,
  fenced: Map<string, { sinceEpoch: number; reason: string }>,
  actions: Action[],
): void {
  const seen = node.seen as NonNullable<NodeView['seen']>;
  const fork = state.forks.find((f) => f.parentTimeline === seen.timeline);
  const reason =
    fork === undefined
      ? `a primary on timeline ${seen.timeline}, while ${state.primary} is assigned`
      : rejoinReason(seen.timeline, fork.timeline, fork.forkLsn, seen.receiveLsn);
  const before = fenced.get(node.name);
  if (before?.reason === reason) return;
  fenced.set(node.name, { sinceEpoch: before?.sinceEpoch ?? state.epoch, reason });
  actions.push(event('fenced', node, `${node.name} gets no statement: ${reason}`));
}

function follows(node: NodeView, state: State): boolean {
  return node.timeline === state.timeline && node.seen?.receiver?.status === 'streaming' && node.deafSinceMs === null;
}

function isFenced(seen: NonNullable<NodeView['seen']>): boolean {
  return seen.fence != null || seen.mark?.kind === 'fence';
}

/** A change that nobody completed left it without a stream. */
function isHeld({ seen }: NodeView, state: State): boolean {
  return seen?.mark != null && seen.startedMs >= state.sinceMs && state.work === null;
}

function strays(node: NodeView, state: State, nowMs: number): boolean {
  if (node.deafSinceMs !== null) return nowMs - Math.max(node.deafSinceMs, state.sinceMs) > DEAF_MS;
  return node.timeline < state.timeline && nowMs - state.sinceMs > DEAF_MS;
}

function event(name: string, node: NodeView, message: string): Action {
  return { kind: 'event', name, message, detail: { node: node.name } };
}

function same(a: ReadonlyMap<string, { reason: string }>, b: ReadonlyMap<string, { reason: string }>): boolean {
  return a.size === b.size && [...a].every(([node, fence]) => b.get(node)?.reason === fence.reason);
}
