import type { NodeSynchrony, Quorum, Synchrony, SynchronyState } from '../../cluster/synchrony.ts';
import { countedBy, type SyncStep, type SyncView } from './decide-sync.ts';
import { copiesOf, quorumInWords } from './quorum.ts';
import type { Wish } from './target.ts';

/** What the rest of the program sees of it. Pure. */
export function synchronyOf(wish: Wish, now: { readonly step: SyncStep; readonly view: SyncView } | null): Synchrony {
  const { mode, copies, degrade } = wish;
  if (now === null) {
    const reason = 'no primary was asked yet';
    const nodes = new Map<string, NodeSynchrony>();
    return { mode, copies, degrade, state: 'unknown', reason, setting: null, guarantee: null, nodes };
  }
  const { step, view } = now;
  const { guarantee, setting } = view;
  const counted = countedBy(guarantee);
  const wanted = setting.names?.quorum.nodes ?? [];
  const of = (name: string, ailment: string | null): NodeSynchrony => {
    if (counted.includes(name)) return ailment === null ? mode : 'failing';
    return ailment === null && wanted.includes(name) ? 'joining' : 'async';
  };
  return Object.freeze({
    ...{ mode, copies, degrade, guarantee },
    state: stateOf(step, wish, guarantee),
    reason: reasonOf(step, guarantee),
    setting: setting.text,
    nodes: new Map(view.followers.map(({ name, ailment }) => [name, of(name, ailment)])),
  });
}

function stateOf(step: SyncStep, wish: Wish, guarantee: readonly Quorum[]): SynchronyState {
  if (step.kind === 'blocked') return 'blocked';
  if (step.kind !== 'settled') return 'changing';
  return copiesOf(guarantee) < wish.copies ? 'degraded' : 'confirmed';
}

function reasonOf(step: SyncStep, guarantee: readonly Quorum[]): string {
  if (step.kind === 'blocked') return `commits wait: ${step.reason}`;
  if (step.kind === 'wait' || step.kind === 'unblock') return step.reason;
  const where = guarantee.map(quorumInWords).join('; or ');
  return `acknowledged commits are on ${where}`;
}
