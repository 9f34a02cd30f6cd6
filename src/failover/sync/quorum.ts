import type { Quorum } from '../../cluster/synchrony.ts';

/** Nobody but the primary has to have a commit: asynchronous. */
export const NOBODY: Quorum = Object.freeze({ copies: 0, nodes: [] });

/** More copies than there are nodes: no commit is ever acknowledged. */
export const CLOSED: Quorum = Object.freeze({ copies: 1, nodes: [] });

/** Whether every commit that `a` acknowledges is one that `b` would. Pure, like all of this file. */
export function implies(a: Quorum, b: Quorum): boolean {
  if (b.copies === 0 || a.copies > a.nodes.length) return true;
  const elsewhere = a.nodes.filter((node) => !b.nodes.includes(node)).length;
  return a.copies - elsewhere >= b.copies;
}

/**
 * The mildest quorum over both memberships that implies both: what is required while one gives way to the other. Of a union of n nodes
 * a subset of k meets `a` in at least k - (n - |a|).
 */
export function join(a: Quorum, b: Quorum): Quorum {
  if (implies(a, b)) return a;
  if (implies(b, a)) return b;
  const nodes = [...new Set([...a.nodes, ...b.nodes])].sort();
  const need = (q: Quorum) => nodes.length - q.nodes.length + q.copies;
  return { copies: Math.max(need(a), need(b)), nodes };
}

export function same(a: Quorum, b: Quorum): boolean {
  return a.copies === b.copies && a.nodes.length === b.nodes.length && a.nodes.every((node) => b.nodes.includes(node));
}

/** The least number of copies that is guaranteed. */
export function copiesOf(guarantee: readonly Quorum[]): number {
  return guarantee.length === 0 ? 0 : Math.min(...guarantee.map((quorum) => quorum.copies));
}

export function quorumInWords({ copies, nodes }: Quorum): string {
  if (copies === 0) return 'the primary alone';
  return copies === nodes.length ? nodes.join(' and ') : `${copies} of ${nodes.join(', ')}`;
}
