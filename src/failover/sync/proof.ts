import type { Quorum } from '../../cluster/synchrony.ts';
import type { Lsn } from '../../core/lsn.ts';
import { copiesOf, quorumInWords } from './quorum.ts';

/** What is known about acknowledged commits when a primary has to be replaced. */
export type Standing = {
  readonly copies: number;
  readonly degrade: 'block' | 'async';
  /** Null: not known (yet). */
  readonly guarantee: readonly Quorum[] | null;
  /** True: it was read from, or written to, the primary that is replaced. False: it comes from followers, which may have missed a change. */
  readonly witnessed: boolean;
  /** Followers whose record was read, with all their WAL replayed. */
  readonly seen: ReadonlySet<string>;
};

/**
 * Why a follower at `position` may lack an acknowledged commit; null: it provably has all. Each such commit is on `copies` of a quorum's
 * `nodes`; if it lay beyond `position`, so many of them would stand beyond it too. With everybody's position known that is R + W > N. Pure.
 *
 * @param known positions that followers stand at for good, of one timeline; those not in it may stand anywhere
 */
export function doubtAt(guarantee: readonly Quorum[], position: Lsn, known: ReadonlyMap<string, Lsn>): string | null {
  for (const quorum of guarantee) {
    if (quorum.copies === 0) return 'commits may have been acknowledged without any follower';
    const beyond = quorum.nodes.filter((node) => (known.get(node) ?? Number.POSITIVE_INFINITY) > position);
    if (beyond.length >= quorum.copies) {
      return `commits are acknowledged by ${quorumInWords(quorum)}, and ${beyond.map((n) => `${n} ${known.has(n) ? 'is ahead' : 'does not tell where it stands'}`).join(', ')}`;
    }
  }
  return null;
}

/**
 * Why the guarantee itself cannot be relied on; null: it can. Whoever did not see the primary knows the last change only if no group of
 * followers that could have made commits safe without the others is missing; a degradation may be known to the primary alone. Pure.
 */
export function doubtAbout({ witnessed, degrade, copies, guarantee, seen }: Standing, nodes: number): string | null {
  if (witnessed) return null;
  if (degrade === 'async') {
    return 'this Fairlead did not see the primary alive, and with replication.degrade: async commits may have been acknowledged without followers';
  }
  const missing = nodes - 1 - seen.size;
  // the run before may have had another configuration
  if (missing < Math.min(copies, copiesOf(guarantee ?? []) || copies)) return null;
  return `this Fairlead did not see the primary alive, and the last setting may be known only to ${missing} followers that do not answer`;
}
