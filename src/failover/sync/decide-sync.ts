/**
 * How `synchronous_standby_names` gets from what it is to what it should be. Two things hold at every instant, whoever dies in between:
 * whatever may be in force implies one of the quorums of the guarantee, and every commit acknowledged so far is where the guarantee says.
 * So the guarantee is relaxed before the setting, and tightened after it, when the followers it names have what came before. Pure.
 */
import type { Quorum } from '../../cluster/synchrony.ts';
import { formatLsn, type Lsn } from '../../core/lsn.ts';
import { copiesOf, implies, join, NOBODY, quorumInWords, same } from './quorum.ts';
import { formatNames, type StandbyNames } from './standby-names.ts';
import { type Follower, presetOf, shortage, targetOf, type Wish } from './target.ts';

export type SyncView = {
  readonly wish: Wish;
  readonly followers: readonly Follower[];
  /** The setting as the primary has it; `names` null: somebody wrote what guarantees nothing that we know. */
  readonly setting: { readonly text: string; readonly names: StandbyNames | null; readonly fenced: boolean };
  readonly guarantee: readonly Quorum[];
  /** The guarantee is in the store, under this epoch. */
  readonly recorded: boolean;
  /** Every walsender has read the setting: none acknowledges by an older one. */
  readonly evident: boolean;
  /** How long that has not been so; 0 when it is. */
  readonly unreadForMs: number;
  /** Highest `sync_priority` among the walsenders. */
  readonly topPriority: number;
  /** Commits are known to wait at all (the server's flag follows an empty setting with a delay). */
  readonly armed: boolean;
  /** The primary's flush position, taken when the setting of that text was evident. */
  readonly mark: { readonly text: string; readonly lsn: Lsn } | null;
  readonly shortForMs: number;
};

export type SyncEvent = { readonly kind: string; readonly message: string };

export type SyncStep =
  | { readonly kind: 'settled' }
  | { readonly kind: 'blocked' | 'wait'; readonly reason: string }
  /** Has to be durable before the next step. The event goes with it. */
  | { readonly kind: 'record'; readonly guarantee: readonly Quorum[]; readonly event: SyncEvent | null }
  | { readonly kind: 'set'; readonly names: StandbyNames }
  | { readonly kind: 'arm' }
  /** Ends the walsenders of these that cannot read the setting because they wait to write. */
  | { readonly kind: 'unblock'; readonly nodes: readonly string[]; readonly reason: string }
  | { readonly kind: 'mark' };

/** A walsender reads a changed setting at once, whatever its standby does, unless it is stuck. */
const UNREAD_MS = 1000;

export function decideSync(view: SyncView): SyncStep {
  const { wish, followers, setting, guarantee, recorded } = view;
  if (setting.fenced) return { kind: 'wait', reason: 'the primary is fenced' };
  const inForce = setting.names?.quorum ?? NOBODY;
  const held = guarantee.find((quorum) => implies(inForce, quorum));
  if (held === undefined) {
    const message = `synchronous_standby_names is '${setting.text}', which Fairlead did not set: commits may have been acknowledged without followers`;
    return { kind: 'record', guarantee: [NOBODY], event: { kind: 'sync-lost', message } };
  }
  if (!recorded) return { kind: 'record', guarantee, event: null };
  const target = targetOf(wish, followers, countedBy(guarantee), view.shortForMs);
  if (target.kind === 'wait') {
    if (wish.degrade === 'async') return { kind: 'wait', reason: target.reason };
    // with degrade: block nothing is acknowledged that has fewer copies, also before there ever were any
    if (inForce.copies >= wish.copies) return { kind: 'blocked', reason: target.reason };
    return { kind: 'set', names: namesOf(wish, join(held, presetOf(wish, namesIn(followers)))) };
  }
  const wanted = target.quorum;
  if (guarantee.every((quorum) => same(quorum, wanted))) {
    const names = namesOf(wish, wanted);
    return setting.text === formatNames(names) ? { kind: 'settled' } : { kind: 'set', names };
  }
  if (guarantee.every((quorum) => implies(quorum, wanted))) {
    return { kind: 'record', guarantee: [wanted], event: relaxed(view, wanted) };
  }
  return tighten(view, held, wanted);
}

/** Requires old and new together, until those that are to count have flushed everything that was acknowledged before. */
function tighten(view: SyncView, held: Quorum, wanted: Quorum): SyncStep {
  const { setting, guarantee, mark } = view;
  if (!view.armed && copiesOf(guarantee) === 0) return { kind: 'arm' };
  const both = join(held, wanted);
  const { names } = setting;
  if (names === null || names.markers === 0 || !same(names.quorum, both)) {
    return { kind: 'set', names: { method: 'FIRST', quorum: both, markers: Math.max(1, view.topPriority) } };
  }
  if (!view.evident) {
    const reason = 'not every walsender has read the new setting';
    const ailing = view.followers.filter(({ ailment }) => ailment !== null).map(({ name }) => name);
    const patient = view.unreadForMs < UNREAD_MS || ailing.length === 0;
    return patient ? { kind: 'wait', reason } : { kind: 'unblock', nodes: ailing, reason };
  }
  if (mark === null || mark.text !== setting.text) return { kind: 'mark' };
  const counted = countedBy(guarantee);
  const behind = wanted.nodes.filter((node) => !reached(view, node, mark.lsn));
  const newcomers = behind.filter((node) => !counted.includes(node));
  if (newcomers.length > 0 || wanted.nodes.length - behind.length < wanted.copies) {
    return { kind: 'wait', reason: `${behind.join(', ')} has not flushed ${formatLsn(mark.lsn)} yet` };
  }
  return { kind: 'record', guarantee: [wanted], event: tightened(view, wanted) };
}

function reached({ followers }: SyncView, node: string, lsn: Lsn): boolean {
  const flushLsn = followers.find((f) => f.name === node)?.flushLsn ?? null;
  return flushLsn !== null && flushLsn >= lsn;
}

export function namesOf(wish: Wish, quorum: Quorum): StandbyNames {
  return { method: wish.mode === 'sync' ? 'FIRST' : 'ANY', quorum, markers: 0 };
}

export function countedBy(guarantee: readonly Quorum[]): readonly string[] {
  return [...new Set(guarantee.flatMap((quorum) => quorum.nodes))];
}

function namesIn(followers: readonly Follower[]): readonly string[] {
  return followers.map((f) => f.name);
}

function relaxed({ wish, guarantee, followers }: SyncView, wanted: Quorum): SyncEvent | null {
  if (wanted.copies < Math.min(wish.copies, copiesOf(guarantee))) {
    const message = `from now on commits are acknowledged by ${quorumInWords(wanted)}: ${shortage(wish, followers)}`;
    return { kind: 'sync-degraded', message };
  }
  return { kind: 'sync-changed', message: `acknowledged commits are on ${quorumInWords(wanted)}` };
}

function tightened({ wish, guarantee }: SyncView, wanted: Quorum): SyncEvent {
  const again = copiesOf(guarantee) < wanted.copies;
  const short = wanted.copies < wish.copies ? `, ${wish.copies} are configured` : '';
  return {
    kind: again ? 'sync-confirmed' : 'sync-changed',
    message: `every acknowledged commit is on ${quorumInWords(wanted)}${short}`,
  };
}
