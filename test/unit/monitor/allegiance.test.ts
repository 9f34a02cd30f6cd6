import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { Fork } from '../../../src/cluster/assignment.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { Allegiance, type Sighting } from '../../../src/monitor/allegiance.ts';

const FORK: Fork = { timeline: 2, parentTimeline: 1, forkLsn: lsn(1000n), epoch: 2 };

/** A subscriber that has all of timeline 1 up to 950, and a primary on timeline 2 since 1000. */
describe('whether a subscriber follows the primary', () => {
  let allegiance: Allegiance;

  const judge = (change: Partial<Sighting>) =>
    allegiance.judge({
      subscription: '16400',
      timeline: 2,
      forks: [FORK],
      appliedLsn: lsn(950n),
      progressLsn: lsn(900n),
      connected: false,
      confirmedLsn: lsn(940n),
      ...change,
    });

  beforeEach(() => {
    allegiance = new Allegiance();
    assert.equal(judge({ timeline: 1, forks: [], connected: true }), null);
  });

  it('does, once it was seen to be fit and receives from there', () => {
    assert.match(judge({}) as string, /does not receive from the assigned primary/);
    assert.equal(judge({ connected: true, progressLsn: lsn(1100n), confirmedLsn: lsn(1100n) }), null);
  });

  it('does not when nobody saw it before it received from there', () => {
    assert.match(judge({ connected: true }) as string, /was not seen whether .* missed anything/);
  });

  it('does not when it has gone beyond the fork', () => {
    assert.match(judge({ progressLsn: lsn(1001n) }) as string, /left at 0\/3E8: create it anew/);
    assert.match(judge({ progressLsn: lsn(1001n), connected: true }) as string, /create it anew/);
  });

  it('does not when the fork is not known', () => {
    assert.match(judge({ forks: [] }) as string, /left at unknown/);
  });

  it('does not when its slot begins later than what it had, or is missing', () => {
    assert.match(judge({ confirmedLsn: lsn(951n) }) as string, /later than what it has/);
    assert.match(judge({ confirmedLsn: null }) as string, /has no slot/);
  });

  it('counts nothing that it was told of the old timeline beyond the fork', () => {
    assert.equal(judge({ timeline: 1, forks: [], connected: true, appliedLsn: lsn(1200n) }), null);
    assert.match(judge({ confirmedLsn: lsn(1100n) }) as string, /later than what it has/);
  });

  it('does again when the subscription was made anew', () => {
    assert.match(judge({ connected: true }) as string, /create it anew/);
    assert.equal(judge({ subscription: '16500', connected: true }), null);
  });

  it('needs to be fit for each failover', () => {
    judge({});
    assert.equal(judge({ connected: true }), null);
    const forks = [FORK, { timeline: 3, parentTimeline: 2, forkLsn: lsn(2000n), epoch: 3 }];
    assert.match(judge({ timeline: 3, forks, connected: true }) as string, /was not seen/);
  });
});
