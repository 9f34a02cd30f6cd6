import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { usesDocker } from '../support/cluster.ts';
import { PartitionScene, TIMEOUT_MS } from '../support/partition-scene.ts';
import { FAIRLEAD, needsNamespaces } from '../support/private-network.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: containers share the network' : needsNamespaces();

describe('a network that falls apart, with a primary that lives', { skip: SKIP, timeout: 250_000 }, () => {
  let scene: PartitionScene;
  before(async () => {
    scene = await PartitionScene.start({ routing: { max_lag: '1s' } });
  });
  after(() => scene?.stop());
  let epoch: number;
  beforeEach(() => {
    epoch = scene.assignment.epoch;
  });

  it('Fairlead alone is cut off from it: nothing is promoted, and it says why; writes wait and go on', async () => {
    scene.network.cut(FAIRLEAD, 'pg1');
    await scene.says(/pg[23] still receives WAL from pg1: only Fairlead is cut off from it/);
    assert.equal(scene.assignment.phase, 'suspect');
    await scene.healed();
    assert.equal(scene.assignment.epoch, epoch);
  });

  for (const [from, to] of [
    [FAIRLEAD, 'pg1'],
    ['pg1', FAIRLEAD],
  ] as const) {
    it(`the link is dead in one direction only, from ${from} to ${to}: the same`, async () => {
      scene.network.cutOneWay(from, to);
      await scene.says(/still receives WAL from pg1: only Fairlead is cut off from it/);
      await scene.healed();
      assert.equal(scene.assignment.epoch, epoch);
    });
  }

  it('it is cut off from one replica, one way: that one leaves the reads, and nothing else happens', async () => {
    const suspicions = (await scene.events('suspect')).length;
    scene.network.cutOneWay('pg1', 'pg3');
    await scene.state('pg3', 'lagging');
    await scene.journal.progress();
    await scene.state('pg2', 'up');
    await scene.healed();
    assert.equal((await scene.events('suspect')).length, suspicions);
    assert.equal(scene.assignment.epoch, epoch);
  });

  it('it is cut off from all replicas: it stays, reads go to it, and that shows', async () => {
    scene.network.cut('pg1', 'pg2');
    scene.network.cut('pg1', 'pg3');
    await scene.state('pg2', 'lagging');
    await scene.state('pg3', 'lagging');
    // longer than it takes to give up a primary
    const receiving = "SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    await until(async () => (await scene.node('pg2').query(receiving)).length === 0, { what: 'pg2 to have lost it' });
    const lostMs = performance.now();
    await until(() => performance.now() > lostMs + TIMEOUT_MS, { what: 'failover.timeout' });
    assert.equal(scene.assignment.phase, 'steady');
    await scene.journal.progress();
    await scene.healed();
    assert.equal(scene.assignment.epoch, epoch);
  });

  it('loses nothing in all that, and nobody else ever took writes', async () => {
    assert.deepEqual(await scene.assertTruth('pg1'), []);
    assert.deepEqual(scene.watch.twoWriters(), []);
    assert.deepEqual(scene.watch.writersByTimeline(), new Map([[1, new Set(['pg1'])]]));
    assert.deepEqual(await scene.events('failover'), []);
    assert.deepEqual(
      Object.keys(scene.journal.codes).filter((code) => !['08007', '40001', '57P01'].includes(code)),
      [],
    );
    assert.deepEqual(scene.journal.readErrors, []);
  });
});
