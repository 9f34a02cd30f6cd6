import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeSlot, type Slot } from '../../../src/failover/judge-slot.ts';

const MB = 1024 ** 2;
const SLOT: Slot = {
  ...{ name: 'pg2', kind: 'physical', active: false, pid: null },
  ...{ status: 'reserved', safeBytes: null, keptBytes: 10 * MB },
};
const LIMITS = { warnAtBytes: 100 * MB, dropAtBytes: null };
const DROPS = { ...LIMITS, dropAtBytes: 500 * MB };

describe('what is to be done about a slot', () => {
  it('nothing while it keeps little, or never kept anything', () => {
    assert.equal(judgeSlot(SLOT, DROPS), 'fine');
    assert.equal(judgeSlot({ ...SLOT, keptBytes: null, status: null }, DROPS), 'fine');
  });

  it('a warning once it keeps much', () => {
    assert.equal(judgeSlot({ ...SLOT, keptBytes: 101 * MB, status: 'extended' }, LIMITS), 'keeps much');
  });

  it('a warning before it loses WAL, by the limit that the server has', () => {
    assert.equal(
      judgeSlot({ ...SLOT, keptBytes: 60 * MB, safeBytes: 50 * MB, status: 'extended' }, LIMITS),
      'about to lose',
    );
    assert.equal(judgeSlot({ ...SLOT, keptBytes: 40 * MB, safeBytes: 70 * MB, status: 'extended' }, LIMITS), 'fine');
    assert.equal(judgeSlot({ ...SLOT, keptBytes: 60 * MB, safeBytes: 50 * MB, status: 'reserved' }, LIMITS), 'fine');
    assert.equal(judgeSlot({ ...SLOT, safeBytes: -MB, status: 'unreserved' }, LIMITS), 'about to lose');
    assert.equal(judgeSlot({ ...SLOT, keptBytes: null, status: 'lost' }, LIMITS), 'lost');
  });

  it('drops only where that was asked for, and only what a clone can replace', () => {
    const much = { ...SLOT, keptBytes: 501 * MB, status: 'extended' };
    assert.equal(judgeSlot(much, LIMITS), 'keeps much');
    assert.equal(judgeSlot(much, DROPS), 'drop');
    assert.equal(judgeSlot({ ...much, active: true, pid: 1 }, DROPS), 'keeps much');
    assert.equal(judgeSlot({ ...much, kind: 'logical', name: 'somebody' }, DROPS), 'keeps much');
  });

  it('ends the connection of our own stream when it stands still', () => {
    const ours: Slot = { ...SLOT, name: 'fairlead_0123456789ab', kind: 'logical', active: true, pid: 7 };
    assert.equal(judgeSlot({ ...ours, keptBytes: 501 * MB }, DROPS), 'end its reader');
    assert.equal(judgeSlot({ ...ours, keptBytes: 501 * MB }, LIMITS), 'keeps much');
    assert.equal(judgeSlot({ ...ours, name: 'fairlead_pg1', keptBytes: 501 * MB }, DROPS), 'keeps much');
  });
});
