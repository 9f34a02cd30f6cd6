import type { Fork } from '../cluster/assignment.ts';
import { adopt } from './adopt.ts';
import { withEarlier } from './flapping.ts';
import { overtakenBy } from './lost-candidates.ts';
import { move } from './phases.ts';
import type { Action, Decision, Outcome, State } from './state.ts';
import { event, halt } from './steps.ts';
import { forkOf, type TimelineHistory } from './timeline-history.ts';
import type { NodeView, View } from './view.ts';

/** The cluster's identity: as known, else the one that most nodes have; null while they disagree evenly. */
export function systemIdOf(state: State, view: View): string | null {
  if (state.systemId !== null) return state.systemId;
  const votes = new Map<string, number>();
  for (const { seen } of view.nodes) if (seen !== null) votes.set(seen.systemId, (votes.get(seen.systemId) ?? 0) + 1);
  const [first, second] = [...votes].sort((a, b) => b[1] - a[1]);
  if (first === undefined || first[1] === second?.[1]) return null;
  return first[0];
}

/** Nodes that answer as a primary of this cluster and were not replaced. */
export function writableOf(state: State, view: View, systemId: string | null): readonly NodeView[] {
  return view.nodes.filter(
    ({ name, seen }) =>
      seen?.role === 'primary' &&
      (systemId === null || seen.systemId === systemId) &&
      (!state.fenced.has(name) || seen.timeline > state.timeline) &&
      seen.timeline >= state.timeline,
  );
}

/**
 * A primary under a fence of ours was handing over, or has been replaced. With everybody answering it shows which; else whoever replaced it may
 * be among those that do not, and has what clients wrote since.
 * @returns why none of `writable` may be adopted, or null
 */
export function fencedObstacle(state: State, writable: readonly NodeView[], view: View): string | null {
  // this run knows that it replaced nobody since
  if (writable.some(({ name }) => name === state.former)) return null;
  const fenced = writable.filter(isFenced);
  if (fenced.length === 0 || fenced.length < writable.length) return null;
  const silent = view.nodes.filter(({ seen }) => seen === null).map(({ name }) => name);
  if (silent.length === 0) return null;
  const names = fenced.map(({ name }) => name).join(', ');
  return `${names} is fenced: it was replaced, or about to be, and ${silent.join(', ')} may be its successor and does not answer. Start it; or, if nobody was promoted, RESET synchronous_standby_names and default_transaction_read_only on ${names} (ALTER SYSTEM) and reload`;
}

/** The only primary, under a fence of ours, when nobody was promoted: it is to write again. */
export function stillFenced(writable: readonly NodeView[], view: View): string | null {
  const [node, second] = writable;
  if (node === undefined || second !== undefined || !isFenced(node)) return null;
  const replaced = view.nodes.some((other) => other !== node && other.timeline > (node.seen?.timeline ?? 0));
  return replaced ? null : node.name;
}

function isFenced({ seen }: NodeView): boolean {
  return seen !== null && (seen.fence != null || seen.mark?.kind === 'fence');
}

/** What a run before, or whoever else, left unfinished: replicas that receive nothing, and those told to promote. */
export function unfinishedOf(view: View, systemId: string | null) {
  const marked = view.nodes.filter(
    ({ seen }) => seen?.role === 'replica' && seen.mark != null && (systemId === null || seen.systemId === systemId),
  );
  const told = marked.filter(({ seen }) => seen?.mark?.kind === 'promote');
  return { told, held: marked.filter((node) => !told.includes(node)) };
}

/** Notes the highest epoch under which a change began, as long as it can be seen. */
export function noteEpochs(state: State, view: View): State {
  const systemId = systemIdOf(state, view);
  if (systemId === null) return state;
  const own = view.nodes.filter(({ seen }) => seen?.systemId === systemId);
  const epochs = own.map(({ seen }) => Math.max(seen?.mark?.epoch ?? 0, seen?.fence ?? 0));
  const markedEpoch = Math.max(state.markedEpoch, ...epochs);
  return markedEpoch === state.markedEpoch ? state : Object.freeze({ ...state, markedEpoch });
}

/** Ends `starting`: takes the one primary there can be, or halts. */
export function adoptFrom(
  state: State,
  view: View,
  outcome: Extract<Outcome, { work: 'inspect' }>,
  nowMs: number,
): Decision {
  const promotionsMs = withEarlier(state.promotionsMs, outcome.promotionsMs);
  const idle: State = Object.freeze({ ...state, promotionsMs, work: null });
  const systemId = systemIdOf(state, view);
  const answering = writableOf(state, view, systemId);
  if (systemId === null && answering.length > 0) {
    const ids = answering.map((n) => `${n.name}: ${n.seen?.systemId}`).join(', ');
    return halt(idle, `the nodes belong to different clusters (system identifiers ${ids})`, nowMs);
  }
  const givenUp = promotionsGivenUp(answering, outcome.recorded);
  const writable = answering.flatMap((node) => {
    if (givenUp.has(node.name)) return [];
    const history = outcome.histories.get(node.name);
    if (history === undefined || node.seen === null) return [];
    return [{ name: node.name, timeline: history.timeline, flushLsn: node.seen.receiveLsn, history }];
  });
  if (writable.length === 0) {
    const epochs = [...outcome.recorded.values()].map((record) => record.epoch);
    return nobodyAnswers(Object.freeze({ ...idle, systemId, epoch: Math.max(1, state.epoch, ...epochs) }), nowMs);
  }
  const replicas = view.nodes.filter((n) => n.seen?.role === 'replica' && n.seen.systemId === systemId);
  const adoption = adopt(writable, Math.max(0, ...replicas.map((n) => n.timeline)));
  if (adoption.primary === null) return halt(idle, adoption.reason, nowMs, { systemId });

  const { primary } = adoption;
  const recorded = outcome.recorded.get(primary.name);
  const epoch = Math.max(state.markedEpoch, epochOf(state, primary.timeline, recorded));
  const fenced = overtakenBy(state.fenced);
  fenced.delete(primary.name);
  for (const [node, reason] of givenUp) fenced.set(node, { sinceEpoch: epoch, reason });
  for (const { node, reason } of adoption.former) fenced.set(node, { sinceEpoch: epoch, reason });
  const replaced = state.former !== null && state.former !== primary.name && primary.timeline > state.timeline;
  if (replaced) {
    const reason = `was primary of timeline ${state.timeline}, replaced by ${primary.name} on timeline ${primary.timeline}`;
    fenced.set(state.former as string, { sinceEpoch: epoch, reason });
  }
  const reason = `${primary.name} is the primary on timeline ${primary.timeline}`;
  const actions: Action[] = [event('adopted', reason, { node: primary.name, epoch, timeline: primary.timeline })];
  if (recorded?.epoch !== epoch) actions.push({ kind: 'record epoch', from: state.former });
  const change = {
    primary: primary.name,
    former: primary.name,
    timeline: primary.timeline,
    systemId,
    epoch,
    fenced,
    forks: forksOf(state, primary.history, epoch),
    plan: null,
    reason,
    sinceMs: nowMs,
  };
  return { state: move(idle, 'steady', change), actions };
}

/**
 * A switchover is undone also when it is not known whether its target, told to promote, has become a primary. Then the old primary has
 * that epoch on record, and the target has the mark of the promotion and no such record: it never was anybody's primary.
 */
function promotionsGivenUp(
  answering: readonly NodeView[],
  recorded: ReadonlyMap<string, { readonly epoch: number }>,
): ReadonlyMap<string, string> {
  const epochOn = (node: NodeView) => recorded.get(node.name)?.epoch ?? 0;
  const reasons = answering.flatMap((node): [string, string][] => {
    const mark = node.seen?.mark ?? null;
    if (mark?.kind !== 'promote' || epochOn(node) >= mark.epoch) return [];
    const other = answering.find((one) => one.timeline < node.timeline && epochOn(one) >= mark.epoch);
    return other === undefined ? [] : [[node.name, `its promotion was given up, and ${other.name} went on`]];
  });
  return new Map(reasons);
}

/** No primary to adopt: the same suspicion as when one falls silent. */
export function nobodyAnswers(state: State, nowMs: number): Decision {
  const reason = 'no node answers as a primary';
  return {
    state: move(state, 'suspect', { reason, sinceMs: nowMs, primary: null }),
    actions: [event('suspect', reason, { node: state.former })],
  };
}

/** The recorded epoch, or one more when the timeline has moved since: somebody was promoted and could not write it down. */
function epochOf(state: State, timeline: number, recorded: { epoch: number; timeline: number } | undefined): number {
  const ours = state.epoch + (state.timeline !== 0 && timeline !== state.timeline ? 1 : 0);
  const theirs = recorded === undefined ? 1 : recorded.epoch + (timeline > recorded.timeline ? 1 : 0);
  return Math.max(ours, theirs);
}

/** One fork for each step of the history; epochs of those before our time are counted back from the present one. */
function forksOf(state: State, history: TimelineHistory, epoch: number): readonly Fork[] {
  if (!history.known) return state.forks;
  const timelines = [...history.steps.map((step) => step.timeline), history.timeline];
  return history.steps.map((step, i) => {
    const timeline = timelines[i + 1] as number;
    const known = state.forks.find((f) => f.timeline === timeline && f.forkLsn === step.endLsn);
    if (known !== undefined) return known;
    return {
      timeline,
      parentTimeline: step.timeline,
      forkLsn: forkOf(history, step.timeline) ?? step.endLsn,
      epoch: Math.max(0, epoch - (history.steps.length - 1 - i)),
    };
  });
}
