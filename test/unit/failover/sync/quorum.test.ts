import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Quorum } from '../../../../src/cluster/synchrony.ts';
import { CLOSED, implies, join, NOBODY, same } from '../../../../src/failover/sync/quorum.ts';

const NODES = ['a', 'b', 'c', 'd'] as const;
const q = (copies: number, ...nodes: string[]): Quorum => ({ copies, nodes });

const sets = <T>(of: readonly T[]): T[][] =>
  Array.from({ length: 1 << of.length }, (_, bits) => of.filter((_, i) => (bits & (1 << i)) !== 0));

/** Every quorum that can be satisfied over four nodes. */
const ALL: readonly Quorum[] = [
  NOBODY,
  ...sets(NODES).flatMap((nodes) => nodes.map((_, i) => ({ copies: i + 1, nodes }))),
];

const acknowledges = ({ copies, nodes }: Quorum, holders: readonly string[]) =>
  nodes.filter((node) => holders.includes(node)).length >= copies;

describe('quorum', () => {
  it('implies exactly what holds for every set of followers that have a commit', () => {
    for (const a of ALL) {
      for (const b of ALL) {
        const always = sets(NODES).every((holders) => !acknowledges(a, holders) || acknowledges(b, holders));
        assert.equal(implies(a, b), always, `${JSON.stringify(a)} implies ${JSON.stringify(b)}`);
      }
    }
  });

  it('joins to something that implies both, and asks for no copy more than that needs', () => {
    for (const a of ALL) {
      for (const b of ALL) {
        const both = join(a, b);
        assert.ok(implies(both, a) && implies(both, b), `${JSON.stringify(a)} and ${JSON.stringify(b)}`);
        assert.ok(both.copies <= both.nodes.length, 'it can be satisfied');
        const milder = { ...both, copies: both.copies - 1 };
        if (both.copies > 0) assert.ok(!implies(milder, a) || !implies(milder, b));
      }
    }
  });

  it('acknowledges nothing when closed', () => {
    for (const quorum of ALL) assert.ok(implies(CLOSED, quorum));
  });

  it('compares whatever the order', () => {
    assert.ok(same(q(1, 'a', 'b'), q(1, 'b', 'a')));
    assert.ok(!same(q(1, 'a', 'b'), q(2, 'a', 'b')));
    assert.ok(!same(q(1, 'a', 'b'), q(1, 'a', 'c')));
  });
});
