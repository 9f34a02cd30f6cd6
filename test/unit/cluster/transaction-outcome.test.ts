import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Fork } from '../../../src/cluster/assignment.ts';
import { Incarnations, type Seen } from '../../../src/cluster/incarnations.ts';
import { transactionOutcome } from '../../../src/cluster/transaction-outcome.ts';

const life = (more: Partial<Seen>): Seen => ({
  node: 'pg1',
  timeline: 1,
  key: 'a',
  lsn: 1000n as Seen['lsn'],
  beginning: null,
  ...more,
});
const restarted = life({
  key: 'b',
  lsn: 3000n as Seen['lsn'],
  beginning: { lsn: 2000n as Seen['lsn'], nextXid: 700n },
});
const fork = (timeline: number, nextXid?: bigint): Fork => ({
  timeline,
  parentTimeline: timeline - 1,
  forkLsn: 2000n as Fork['forkLsn'],
  epoch: timeline,
  ...(nextXid === undefined ? {} : { nextXid }),
});

describe('what became of a transaction', () => {
  it('is what the server says that never went down', () => {
    const lives = new Incarnations();
    const by = lives.note(life({}));
    assert.equal(transactionOutcome(700n, by, { by, status: 'committed' }, [], lives), 'committed');
    assert.equal(transactionOutcome(700n, by, { by, status: 'beyond' }, [], lives), 'in progress');
    assert.equal(transactionOutcome(700n, by, { by, status: null }, [], lives), 'unknown');
  });

  it('is not taken from a transaction that was given the same id after a crash', () => {
    const lives = new Incarnations();
    const before = lives.note(life({}));
    const by = lives.note(restarted);
    assert.equal(transactionOutcome(699n, before, { by, status: 'committed' }, [], lives), 'committed');
    assert.equal(transactionOutcome(700n, before, { by, status: 'committed' }, [], lives), 'aborted');
  });

  it('is unknown after two crashes, and where it is not known with what the server began', () => {
    const lives = new Incarnations();
    const before = lives.note(life({}));
    lives.note(restarted);
    const third = life({
      key: 'c',
      lsn: 5000n as Seen['lsn'],
      beginning: { lsn: 4000n as Seen['lsn'], nextXid: 800n },
    });
    const by = lives.note(third);
    assert.equal(transactionOutcome(700n, before, { by, status: 'committed' }, [], lives), 'unknown');
    const others = new Incarnations();
    const first = others.note(life({}));
    const later = others.note(life({ key: 'd' }));
    assert.equal(transactionOutcome(700n, first, { by: later, status: 'committed' }, [], others), 'unknown');
  });

  it('is the same life where the key differs but nothing was begun since', () => {
    const lives = new Incarnations();
    const by = lives.note(restarted);
    assert.equal(lives.note({ ...restarted, key: 'reset counters' }), by);
  });

  it('is not taken from a transaction that was given the same id on the next timeline', () => {
    const lives = new Incarnations();
    const before = lives.note(life({}));
    const by = lives.note(life({ node: 'pg2', timeline: 2 }));
    const said = { by, status: 'committed' as const };
    assert.equal(transactionOutcome(699n, before, said, [fork(2, 700n)], lives), 'committed');
    assert.equal(transactionOutcome(700n, before, said, [fork(2, 700n)], lives), 'aborted');
    assert.equal(transactionOutcome(700n, before, said, [fork(2)], lives), 'unknown');
    assert.equal(transactionOutcome(700n, before, { by, status: 'beyond' }, [fork(2)], lives), 'aborted');
    const third = lives.note(life({ node: 'pg3', timeline: 3 }));
    const late = { by: third, status: 'committed' as const };
    assert.equal(transactionOutcome(700n, before, late, [fork(2, 700n), fork(3, 900n)], lives), 'aborted');
    assert.equal(transactionOutcome(700n, before, late, [fork(3, 900n)], lives), 'unknown');
  });
});
