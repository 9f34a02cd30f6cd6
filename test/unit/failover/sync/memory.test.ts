import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Quorum } from '../../../../src/cluster/synchrony.ts';
import { guaranteeOf } from '../../../../src/failover/sync/learn.ts';
import { memoryFrom } from '../../../../src/failover/sync/memory.ts';
import { NOBODY } from '../../../../src/failover/sync/quorum.ts';
import type { SynchronyRecord } from '../../../../src/store/records.ts';

const q = (copies: number, ...nodes: string[]): Quorum => ({ copies, nodes });
const IN_CHARGE = { primary: 'pg2', epoch: 3, timeline: 2 };

function record(change: Partial<SynchronyRecord> = {}): SynchronyRecord {
  return { epoch: 3, version: 4, primary: 'pg2', timeline: 2, guarantee: [q(1, 'pg3')], atMs: 0, ...change };
}

describe('what a run goes on from', () => {
  it('the record of this primary', () => {
    const memory = memoryFrom(IN_CHARGE, record(), q(2, 'pg3', 'pg4'));
    assert.deepEqual([memory.guarantee, memory.version, memory.recorded], [[q(1, 'pg3')], 4, true]);
  });

  it('the same, to be written again under an epoch that has risen', () => {
    const memory = memoryFrom(IN_CHARGE, record({ epoch: 2 }), q(1, 'pg3'));
    assert.deepEqual([memory.guarantee, memory.version, memory.recorded], [[q(1, 'pg3')], 0, false]);
  });

  it('after a promotion that nobody wrote down: the old guarantee, or the setting since then', () => {
    const old = record({ epoch: 2, primary: 'pg1', timeline: 1, guarantee: [q(1, 'pg2')] });
    assert.deepEqual(memoryFrom(IN_CHARGE, old, q(1, 'pg1', 'pg3')).guarantee, [q(1, 'pg2'), q(1, 'pg1', 'pg3')]);
    assert.deepEqual(memoryFrom(IN_CHARGE, old, null).guarantee, [q(1, 'pg2'), NOBODY]);
  });

  it('nothing, where there is no record', () => {
    assert.deepEqual(memoryFrom(IN_CHARGE, null, q(1, 'pg3')).guarantee, [NOBODY]);
  });
});

describe('what followers know', () => {
  it('the newest record', () => {
    const records = [record({ version: 9, epoch: 2 }), record({ guarantee: [q(1, 'pg4')] }), record({ version: 3 })];
    assert.deepEqual(guaranteeOf(records, 2), [q(1, 'pg4')]);
  });

  it('less than all, when a later primary left no record', () => {
    assert.deepEqual(guaranteeOf([record({ timeline: 1 })], 2), [q(1, 'pg3'), NOBODY]);
    assert.deepEqual(guaranteeOf([], 1), [NOBODY]);
  });
});
