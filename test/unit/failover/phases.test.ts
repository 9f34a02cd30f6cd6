import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Phase } from '../../../src/cluster/assignment.ts';
import { MOVES, mayMove, move } from '../../../src/failover/phases.ts';

const phases = Object.keys(MOVES) as Phase[];

describe('phases', () => {
  it('lead only to phases that exist, never to themselves', () => {
    for (const phase of phases) {
      for (const next of MOVES[phase]) {
        assert.ok(next in MOVES, next);
        assert.notEqual(next, phase);
      }
      assert.equal(new Set(MOVES[phase]).size, MOVES[phase].length, `${phase} twice`);
    }
  });

  it('can all be reached from starting, and all lead back to steady', () => {
    const reach = (from: Phase) => {
      const found = new Set<Phase>([from]);
      for (const phase of found) for (const next of MOVES[phase]) found.add(next);
      return found;
    };
    assert.deepEqual([...reach('starting')].sort(), [...phases].sort());
    for (const phase of phases) assert.ok(reach(phase).has('steady'), phase);
  });

  it('promote only what was elected, and elect only what stands still', () => {
    assert.deepEqual(
      phases.filter((phase) => mayMove(phase, 'promoting') && phase !== 'promoting'),
      ['electing'],
    );
    assert.deepEqual(phases.filter((phase) => mayMove(phase, 'electing') && phase !== 'electing').sort(), [
      'fencing',
      'promoting',
    ]);
  });

  it('are moved by one mover that throws on every other move', () => {
    for (const from of phases) {
      for (const to of phases) {
        const run = () => move({ phase: from, reason: '' }, to, { reason: 'moved' });
        if (from === to || MOVES[from].includes(to)) assert.deepEqual(run(), { phase: to, reason: 'moved' });
        else assert.throws(run, /illegal move/);
      }
    }
  });
});
