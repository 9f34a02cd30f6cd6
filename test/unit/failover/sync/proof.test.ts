import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Quorum } from '../../../../src/cluster/synchrony.ts';
import { doubtAbout, doubtAt, type Standing } from '../../../../src/failover/sync/proof.ts';
import { NOBODY } from '../../../../src/failover/sync/quorum.ts';
import { at } from '../fixture.ts';

const q = (copies: number, ...nodes: string[]): Quorum => ({ copies, nodes });
const doubt = (guarantee: Quorum[], position: number, known: Record<string, number>) =>
  doubtAt(guarantee, at(position), new Map(Object.entries(known).map(([node, lsn]) => [node, at(lsn)])));

describe('whether a follower has every acknowledged commit', () => {
  const proven: readonly (readonly [string, Quorum[], number, Record<string, number>])[] = [
    ['sync: the one that counts', [q(1, 'pg2')], 900, { pg2: 900 }],
    [
      'sync: the one that counts, another one being ahead with what nobody was promised',
      [q(1, 'pg2')],
      900,
      { pg2: 900, pg3: 990 },
    ],
    ['sync: somebody else who has what the one that counts has', [q(1, 'pg2')], 900, { pg2: 900, pg3: 900 }],
    ['any 1 of 2: the more advanced of both', [q(1, 'pg2', 'pg3')], 900, { pg2: 900, pg3: 800 }],
    ['any 2 of 2: one is enough', [q(2, 'pg2', 'pg3')], 900, { pg2: 900 }],
    ['any 2 of 3: the more advanced of two', [q(2, 'pg2', 'pg3', 'pg4')], 900, { pg2: 900, pg3: 800 }],
    ['in the middle of a change: by both', [q(1, 'pg2'), q(1, 'pg3')], 900, { pg2: 900, pg3: 900 }],
  ];
  for (const [name, guarantee, position, known] of proven) {
    it(`has it: ${name}`, () => assert.equal(doubt(guarantee, position, known), null));
  }

  const doubted: readonly (readonly [string, Quorum[], number, Record<string, number>, RegExp])[] = [
    ['sync: the one that counts is gone', [q(1, 'pg2')], 900, { pg3: 900 }, /pg2 does not tell where it stands/],
    ['sync: behind the one that counts', [q(1, 'pg2')], 800, { pg2: 900, pg3: 800 }, /pg2 is ahead/],
    ['26: any 1 of 2 with one of them', [q(1, 'pg2', 'pg3')], 900, { pg2: 900 }, /1 of pg2, pg3, and pg3 does not/],
    [
      'any 2 of 3: the less advanced of two',
      [q(2, 'pg2', 'pg3', 'pg4')],
      800,
      { pg2: 900, pg3: 800 },
      /pg2 is ahead, pg4/,
    ],
    ['degraded', [NOBODY], 900, { pg2: 900, pg3: 900 }, /without any follower/],
    ['one of two promises', [q(1, 'pg2'), q(1, 'pg3')], 900, { pg2: 900 }, /pg3/],
  ];
  for (const [name, guarantee, position, known, reason] of doubted) {
    it(`may lack it: ${name}`, () => assert.match(doubt(guarantee, position, known) ?? '', reason));
  }

  it('never calls one complete that lacks a commit: every acknowledgement over four followers', () => {
    const nodes = ['a', 'b', 'c', 'd'];
    for (let copies = 1; copies <= 4; copies++) {
      for (let reachable = 0; reachable < 16; reachable++) {
        for (let holders = 0; holders < 16; holders++) {
          const has = (set: number, i: number) => (set & (1 << i)) !== 0;
          if (nodes.filter((_, i) => has(holders, i)).length < copies) continue;
          // a commit that ends at 2: who has it stands there, the others at 1
          const known: Record<string, number> = {};
          for (const [i, node] of nodes.entries()) if (has(reachable, i)) known[node] = has(holders, i) ? 2 : 1;
          for (const [node, position] of Object.entries(known)) {
            const clear = doubt([{ copies, nodes }], position, known) === null;
            assert.ok(!clear || position === 2, `${copies} of 4, ${node}`);
            // R + W > N is enough for the most advanced
            const enough = Object.keys(known).length + copies > nodes.length;
            if (enough && position === Math.max(...Object.values(known))) assert.ok(clear);
          }
        }
      }
    }
  });
});

describe('whether the guarantee is known', () => {
  const base: Standing = {
    copies: 1,
    degrade: 'block',
    guarantee: [q(1, 'pg2')],
    witnessed: false,
    seen: new Set(),
  };
  it('by whoever saw the primary', () => assert.equal(doubtAbout({ ...base, witnessed: true }, 3), null));
  it('by the followers, when no group of them that could have acknowledged is missing', () => {
    assert.equal(doubtAbout({ ...base, seen: new Set(['pg2', 'pg3']) }, 3), null);
    assert.match(doubtAbout({ ...base, seen: new Set(['pg2']) }, 3) ?? '', /only to 1 followers that do not answer/);
    const two = { ...base, copies: 2, guarantee: [q(2, 'pg2', 'pg3')], seen: new Set(['pg2']) };
    assert.equal(doubtAbout(two, 3), null);
    assert.match(
      doubtAbout({ ...two, guarantee: [q(1, 'pg2')] }, 3) ?? '',
      /only to 1 followers/,
      'copies was 1 before',
    );
  });
  it('by no follower where the primary may have gone on alone', () => {
    assert.match(doubtAbout({ ...base, degrade: 'async', seen: new Set(['pg2', 'pg3']) }, 3) ?? '', /degrade: async/);
  });
});
