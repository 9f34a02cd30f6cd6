import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LsnWaiters } from '../../../src/cluster/lsn-waiters.ts';
import { Observations } from '../../../src/cluster/observations.ts';
import { type Lsn, lsn } from '../../../src/core/lsn.ts';

describe('LsnWaiters', () => {
  it('wakes a waiter once in a round, also when it waits again at once', () => {
    // regression: the waiter was met again in the same loop, which never ended and stopped the whole program
    const waiters = new LsnWaiters();
    let woken = 0;
    const wait = () => waiters.add({ lsn: lsn(100n), wake });
    const wake = () => {
      woken++;
      if (woken < 1000) wait();
    };
    wait();
    waiters.advance(lsn(100n));
    assert.equal(woken, 1);
    assert.equal(waiters.size, 1);
  });

  it('does not wake one that another wake removed', () => {
    const waiters = new LsnWaiters();
    let woken = 0;
    const second = { lsn: lsn(2n), wake: () => woken++ };
    waiters.add({ lsn: lsn(1n), wake: () => waiters.remove(second) });
    waiters.add(second);
    waiters.advance(lsn(5n));
    assert.equal(woken, 0);
  });

  it('leaves those who wait for more', () => {
    const waiters = new LsnWaiters();
    waiters.add({ lsn: lsn(7n), wake: () => assert.fail('too early') });
    waiters.advance(lsn(6n));
    assert.equal(waiters.size, 1);
  });
});

describe('Observations', () => {
  it('announces the position it keeps, not one that was asked for earlier and answered later', () => {
    const table = new Observations();
    const heard: Lsn[] = [];
    table.onAdvance((_node, position) => heard.push(position));
    table.advance('pg2', { lsn: lsn(10n), askedMs: 5, answeredMs: 6 });
    table.advance('pg2', { lsn: lsn(20n), askedMs: 4, answeredMs: 7 });
    assert.deepEqual(heard, [lsn(10n), lsn(10n)]);
    assert.equal(table.position('pg2')?.lsn, lsn(10n));
  });
});
