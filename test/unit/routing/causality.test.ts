import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { nowMs } from '../../../src/core/clock.ts';
import { Causality } from '../../../src/routing/causality.ts';
import { CausalityKeys } from '../../../src/routing/causality-keys.ts';
import { fork, RoutingFixture } from './fixture.ts';

describe('Causality', () => {
  it('needs a sample that started after the answer of the primary', () => {
    const { cluster, ...fixture } = scene();
    const causality = new Causality();
    assert.equal(causality.settle(cluster, 1), true, 'a session that did nothing needs nothing');
    const early = cluster.samples.start();
    causality.ranOnPrimary(cluster.samples.next);
    cluster.samples.complete(early, 1, 150n as never);
    assert.equal(causality.settle(cluster, 1), false, 'this one may have been taken before the commit');
    fixture.sample(200n);
    assert.equal(causality.settle(cluster, 1), true);
    assert.equal(causality.token(), '1:0/C8');
  });

  it('never lets its floor fall on one timeline', () => {
    const { cluster, sample } = scene();
    const causality = new Causality();
    causality.adopt('1:0/1000', []);
    causality.ranOnPrimary(cluster.samples.next);
    sample(200n);
    causality.settle(cluster, 1);
    causality.adopt('1:0/10', []);
    assert.equal(causality.token(), '1:0/1000');
  });

  it('folds the read of a replica into the floor by a probe that started after it', () => {
    const { cluster, observe } = scene();
    const causality = new Causality();
    assert.equal(causality.settleReplica(cluster), true);
    causality.ranOnReplica('pg2', nowMs() + 1000);
    assert.equal(causality.settleReplica(cluster), false);
    causality.ranOnReplica('pg2', nowMs());
    observe('pg2', 300n);
    assert.equal(causality.settleReplica(cluster), true);
    assert.equal(causality.floor, 300n);
    assert.equal(causality.replica, null);
  });

  it('falls back to the fork when the timeline changes, and notes the loss once', () => {
    const causality = new Causality();
    causality.adopt('1:0/64', []);
    causality.translate([fork(2, 80n)], 2);
    assert.equal(causality.token(), '2:0/50');
    assert.equal(causality.lostAt?.timeline, 2);
    const safe = new Causality();
    safe.adopt('1:0/64', []);
    safe.translate([fork(2, 200n), fork(3, 300n)], 3);
    assert.equal(safe.token(), '3:0/64');
    assert.equal(safe.lostAt, null);
    safe.translate([], 1);
    assert.equal(safe.timeline, 3, 'timelines only rise');
  });

  it('goes along several forks at once', () => {
    const causality = new Causality();
    causality.adopt('1:0/64', []);
    causality.translate([fork(2, 90n), fork(3, 95n), fork(4, 40n)], 3);
    assert.equal(causality.floor, 90n);
  });

  it('takes a token of an older timeline up to the fork', () => {
    // it was ignored: what the other session had written was not waited for
    const causality = new Causality();
    causality.translate([], 2);
    causality.adopt('1:0/64', [fork(2, 80n)]);
    assert.equal(causality.token(), '2:0/50');
    const whole = new Causality();
    whole.adopt('2:0/30', []);
    whole.adopt('1:0/40', [fork(2, 80n)]);
    assert.equal(whole.token(), '2:0/40');
  });

  it('keeps its own floor when it takes a token of a newer timeline', () => {
    // it was replaced by the token's
    const causality = new Causality();
    causality.adopt('1:0/40', []);
    causality.adopt('2:0/10', [fork(2, 80n)]);
    assert.equal(causality.token(), '2:0/40');
  });

  it('does not go back to the timeline of a sample taken before', () => {
    const { cluster, sample, assign } = scene();
    const causality = new Causality();
    causality.ranOnPrimary(cluster.samples.next);
    sample(70n, 1);
    assign('pg2', 2, [fork(2, 80n)]);
    causality.adopt('2:0/90', cluster.assignment.value.forks);
    assert.equal(causality.settle(cluster, 2), true);
    assert.equal(causality.token(), '2:0/90');
    assert.equal(causality.lostAt, null);
  });

  it('tells tokens from other text', () => {
    for (const text of ['', '1', '1:', ':0/0', '1:0', '1:0/0 ', 'x:0/0', '12345678901:0/0', '1:0/123456789']) {
      assert.equal(Causality.isToken(text), false, text);
      assert.throws(() => new Causality().adopt(text, []), RangeError);
    }
    assert.equal(Causality.isToken('4294967295:FFFFFFFF/FFFFFFFF'), true);
  });
});

function scene() {
  const fixture = new RoutingFixture();
  return {
    cluster: fixture.cluster,
    sample: fixture.sample.bind(fixture),
    observe: fixture.observe.bind(fixture),
    assign: fixture.assign.bind(fixture),
  };
}

describe('sessions of one causality key', () => {
  function joining() {
    const keys = new CausalityKeys(false);
    return { keys, join: (key: string) => new Causality({ shared: keys.of(key) }) };
  }

  it('see what one of them wrote, with a sample that started after it was acknowledged', () => {
    const { cluster, ...fixture } = scene();
    const { join } = joining();
    const [phone, laptop, other] = [join('user:42'), join('user:42'), join('user:7')];
    const early = cluster.samples.start();
    phone.acknowledged(cluster, nowMs());
    cluster.samples.complete(early, 1, 150n as never);
    assert.equal(laptop.settle(cluster, 1), false, 'this one may have been taken before the commit');
    assert.equal(other.settle(cluster, 1), true, 'of another key');
    fixture.sample(400n);
    assert.equal(laptop.settle(cluster, 1), true);
    assert.equal(laptop.token(), '1:0/190');
    assert.equal(laptop.settle(cluster, 1), true, 'once is enough');
    assert.equal(laptop.pendingSample, 0);
  });

  it('see it also when nobody who wrote is there any more', async () => {
    const { cluster, ...fixture } = scene();
    const { keys, join } = joining();
    join('user:42').acknowledged(cluster, nowMs());
    // collected or not: what was written under the key counts
    for (let i = 0; i < 5 && keys.size > 0; i++) {
      setFlagsFromString('--expose-gc');
      runInNewContext('gc')();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const late = join('user:42');
    assert.equal(late.settle(cluster, 1), false);
    fixture.sample(400n);
    assert.equal(late.settle(cluster, 1), true);
    assert.equal(late.token(), '1:0/190');
  });
});
