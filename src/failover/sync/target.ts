import type { Quorum } from '../../cluster/synchrony.ts';
import { bytesBetween, LSN_ZERO, type Lsn, maxLsn } from '../../core/lsn.ts';
import { NOBODY } from './quorum.ts';

/** What the configuration asks for. */
export type Wish = {
  readonly mode: 'sync' | 'quorum';
  readonly copies: number;
  readonly degrade: 'block' | 'async';
};

/** A node other than the primary, as far as commits may rely on it. */
export type Follower = {
  readonly name: string;
  readonly promotable: boolean;
  readonly weight: number;
  readonly drained: boolean;
  /** Why commits should not wait for it; null: it streams and acknowledges. */
  readonly ailment: string | null;
  /** Why it could not prove at a failover what it has: it counts only where there is no other. Null: it could. */
  readonly unproven: string | null;
  /** For how long it has been well without a break; 0 while it is not. */
  readonly wellForMs: number;
  /** What the primary knows it to have flushed; null: it does not stream. */
  readonly flushLsn: Lsn | null;
};

export type Target =
  | { readonly kind: 'quorum'; readonly quorum: Quorum; readonly short: boolean }
  /** Not enough healthy followers: the setting stays, and commits wait. */
  | { readonly kind: 'wait'; readonly reason: string };

/** Commits would not wait for it much longer than for the others. */
const UP_TO_DATE_BYTES = 1024 * 1024;
const FAR_BEHIND_BYTES = 16 * UP_TO_DATE_BYTES;

/** One that comes back joins after this, unless it is needed at once. */
const JOIN_AFTER_MS = 1000;
/** A shortage has to last this long before commits go on with fewer copies. */
export const DEGRADE_AFTER_MS = 1500;

/**
 * Whom commits should rely on. Pure.
 * @param counted who counts now: they stay as long as they are well
 * @param shortForMs for how long there have been too few
 */
export function targetOf(
  wish: Wish,
  followers: readonly Follower[],
  counted: readonly string[],
  shortForMs: number,
): Target {
  const { mode, copies, degrade } = wish;
  const healthy = followers.filter((f) => f.ailment === null);
  const settled = healthy.filter((f) => counted.includes(f.name) || f.wellForMs >= JOIN_AFTER_MS);
  const pool = [...(settled.length >= copies ? settled : healthy)];
  pool.sort(byMerit(pool, counted));
  if (pool.length < copies) {
    const reason = shortage(wish, followers);
    if (degrade === 'block' || shortForMs < DEGRADE_AFTER_MS) return { kind: 'wait', reason };
    const quorum = pool.length === 0 ? NOBODY : quorumOf(pool.length, pool);
    return { kind: 'quorum', quorum, short: true };
  }
  if (mode === 'sync') return { kind: 'quorum', quorum: quorumOf(copies, pool.slice(0, copies)), short: false };
  // one that may not be promoted, or does not answer us, proves nothing at a failover: it counts only where it is needed
  const promotable = pool.filter((f) => f.promotable);
  const proven = promotable.filter((f) => f.unproven === null);
  // who was left out comes back only when those that are left are far behind: else both would take turns
  const leaves = promotable.some((f) => f.unproven !== null && counted.includes(f.name));
  const limitBytes = leaves ? UP_TO_DATE_BYTES : FAR_BEHIND_BYTES;
  const enough = proven.filter((f) => bytesBehind(f, pool) <= limitBytes).length >= copies;
  const members = enough ? proven : promotable.length >= copies ? promotable : pool.slice(0, copies);
  return { kind: 'quorum', quorum: quorumOf(copies, members), short: false };
}

/** Behind the one that has flushed most. */
function bytesBehind({ flushLsn }: Follower, pool: readonly Follower[]): number {
  const newest = pool.reduce((lsn, f) => maxLsn(lsn, f.flushLsn ?? LSN_ZERO), LSN_ZERO);
  return bytesBetween(flushLsn ?? LSN_ZERO, newest);
}

/** Everybody who may ever acknowledge, for a primary of which no follower is known yet. */
export function presetOf(wish: Wish, others: readonly string[]): Quorum {
  return { copies: wish.copies, nodes: [...others].sort() };
}

/** Too few, and who ails of what. */
export function shortage(wish: Wish, followers: readonly Follower[]): string {
  const ailing = followers.filter((f) => f.ailment !== null).map((f) => `${f.name} ${f.ailment}`);
  const well = followers.length - ailing.length;
  return `${well} of ${wish.copies} followers that commits need ${well === 1 ? 'is' : 'are'} healthy: ${ailing.join(', ')}`;
}

export function isShort(wish: Wish, followers: readonly Follower[]): boolean {
  return followers.filter((f) => f.ailment === null).length < wish.copies;
}

function quorumOf(copies: number, members: readonly Follower[]): Quorum {
  return { copies, nodes: members.map((f) => f.name).sort() };
}

function byMerit(pool: readonly Follower[], counted: readonly string[]) {
  const late = new Set(pool.filter((f) => bytesBehind(f, pool) > UP_TO_DATE_BYTES && !counted.includes(f.name)));
  const rank = (f: Follower) => [
    // commits do not wait for one that is behind because another one proves nothing
    f.unproven === null && !late.has(f) ? 0 : 1,
    f.promotable ? 0 : 1,
    counted.includes(f.name) ? 0 : 1,
    f.drained ? 1 : 0,
    -f.weight,
  ];
  return (a: Follower, b: Follower): number => {
    const [left, right] = [rank(a), rank(b)];
    const at = left.findIndex((value, i) => value !== right[i]);
    if (at >= 0) return (left[at] as number) - (right[at] as number);
    return a.name < b.name ? -1 : 1;
  };
}
