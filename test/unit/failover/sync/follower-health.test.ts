import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Cluster } from '../../../../src/cluster/cluster.ts';
import { configSchema, nodesOf } from '../../../../src/config/config.ts';
import { FollowerHealth } from '../../../../src/failover/sync/follower-health.ts';
import type { PrimaryFacts, Walsender } from '../../../../src/failover/sync/read-primary.ts';
import { at, SYSTEM, seen } from '../fixture.ts';

const sender = (name: string, change: Partial<Walsender> = {}): Walsender => ({
  ...{ name, state: 'streaming', flushLsn: at(1000), priority: 0, sign: 'a' },
  ...change,
});
const facts = (...walsenders: Walsender[]): PrimaryFacts => ({
  ...{ recovery: false, names: '', flushLsn: at(1000) },
  walsenders,
});

describe('the health of followers', () => {
  let cluster: Cluster;
  let health: FollowerHealth;
  beforeEach(() => {
    const nodes = { pg1: '127.0.0.1:1', pg2: '127.0.0.1:2', pg3: '127.0.0.1:3' };
    cluster = new Cluster(nodesOf(configSchema.parse({ cluster: { user: 'u', nodes } })), { ms: 1, bytes: null });
    cluster.assignment.set({ ...cluster.assignment.value, primary: 'pg1', systemId: SYSTEM });
    health = new FollowerHealth(cluster);
  });
  const ailments = (now: PrimaryFacts, nowMs = 0) =>
    Object.fromEntries(health.look('pg1', now, nowMs).map(({ name, ailment }) => [name, ailment]));

  it('is that of all but the primary, by name whatever its case', () => {
    assert.deepEqual(ailments(facts(sender('PG2'))), { pg2: null, pg3: 'does not stream' });
  });

  it('says when it is a pause of its replay that keeps one from streaming', () => {
    cluster.observations.record(seen('pg3', { replayPaused: true }));
    assert.match(
      String(ailments(facts(sender('pg2'))).pg3),
      /^does not stream: its replay is paused.*pg_wal_replay_resume/,
    );
    assert.equal(ailments(facts(sender('pg2'), sender('pg3'))).pg3, null);
  });

  it('tells one that is not there yet, or not alone', () => {
    const now = facts(sender('pg2', { state: 'catchup' }), sender('pg3'), sender('pg3'));
    assert.deepEqual(ailments(now), { pg2: 'is at catchup', pg3: 'shares its application_name with 1 other standby' });
  });

  it('minds when it owes an acknowledgement and says nothing, not when there is nothing to say', () => {
    const owes = facts(sender('pg2', { flushLsn: at(900) }), sender('pg3'));
    assert.deepEqual(ailments(owes, 0), { pg2: null, pg3: null });
    assert.deepEqual(ailments(owes, 1500), { pg2: null, pg3: null });
    assert.deepEqual(ailments(owes, 1501), { pg2: 'does not acknowledge', pg3: null });
    const speaks = facts(sender('pg2', { flushLsn: at(950), sign: 'b' }), sender('pg3'));
    assert.equal(ailments(speaks, 1600).pg2, null);
  });

  it('needs an answer to us: one that we cannot reach proves nothing at a failover', () => {
    const failure = { node: 'pg2', sequence: 1, startedMs: 0, finishedMs: 0, message: '' };
    cluster.observations.record(seen('pg3'));
    cluster.observations.recordFailure({ ...failure, kind: 'hung' });
    assert.deepEqual(ailments(facts(sender('pg2'), sender('pg3'))), { pg2: 'does not answer', pg3: null });
    cluster.observations.recordFailure({ ...failure, kind: 'too_many' });
    assert.equal(ailments(facts(sender('pg2'))).pg2, null);
  });

  it('does not ail that lives and lets nobody in, but when that lasts it would prove nothing', () => {
    const look = (nowMs: number) =>
      health
        .look('pg1', facts(sender('pg2')), nowMs)
        .map(({ name, ailment, unproven }) => [name, ailment, unproven])[0];
    const failure = { node: 'pg2', sequence: 1, startedMs: 0, finishedMs: 0, message: 'too many clients' };
    for (const kind of ['too_many', 'auth', 'sql'] as const) {
      cluster.observations.recordFailure({ ...failure, kind: 'hung' });
      assert.deepEqual(look(0), ['pg2', 'does not answer', null]);
      cluster.observations.recordFailure({ ...failure, kind });
      assert.deepEqual(look(10_000), ['pg2', null, null]);
      assert.deepEqual(look(10_900), ['pg2', null, null]);
      assert.deepEqual(look(11_500), ['pg2', null, null]);
      assert.deepEqual(look(11_501), ['pg2', null, 'does not let Fairlead in: too many clients']);
      cluster.observations.record(seen('pg2'));
      // not at once: it may refuse the next one
      assert.equal(look(12_500)?.[2], 'does not let Fairlead in: too many clients');
      assert.deepEqual(look(12_502), ['pg2', null, null]);
    }
  });

  it('leaves fenced nodes and those of other clusters out', () => {
    const fenced = new Map([['pg2', { sinceEpoch: 1, reason: 'was primary' }]]);
    cluster.assignment.set({ ...cluster.assignment.value, fenced });
    cluster.observations.record(seen('pg3', { systemId: '42' }));
    assert.deepEqual(ailments(facts(sender('pg2'), sender('pg3'))), { pg2: 'is fenced', pg3: 'is of another cluster' });
  });

  it('counts from the last break', () => {
    const wellForMs = (now: PrimaryFacts, nowMs: number) => health.look('pg1', now, nowMs)[0]?.wellForMs;
    assert.equal(wellForMs(facts(sender('pg2')), 1000), 0);
    assert.equal(wellForMs(facts(sender('pg2')), 3000), 2000);
    assert.equal(wellForMs(facts(), 3100), 0);
    assert.equal(wellForMs(facts(sender('pg2')), 3200), 0);
  });
});
