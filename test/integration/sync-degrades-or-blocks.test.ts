import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { httpGet } from '../support/http.ts';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

async function connect(scene: SyncScene): Promise<pg.Client> {
  const client = new pg.Client(scene.fairlead.url);
  client.on('error', () => {});
  await client.connect();
  return client;
}

describe('no healthy follower is left', () => {
  describe('degrade: async', () => {
    let scene: SyncScene;
    before(async () => {
      scene = await SyncScene.start({ replication: { mode: 'quorum', copies: 2, degrade: 'async' } });
    });
    after(() => scene?.stop());

    it('it is on record before commits go on with one copy, and before they go on with none', async () => {
      const client = await connect(scene);
      await client.query('CREATE TABLE degraded (id int)');
      const degraded = `SELECT at, message FROM fairlead.events WHERE kind = 'sync-degraded' ORDER BY at DESC`;
      const onRecord = () => scene.cluster.node('pg1').query<{ at: Date; message: string }>(degraded);
      for (const [name, confirmed] of [
        ['pg3', 1],
        ['pg2', 0],
      ] as const) {
        // a busy machine may degrade it for a moment: nothing that is on record by now counts
        const had = (await onRecord()).length;
        await scene.cluster.node(name).kill9();
        await client.query('INSERT INTO degraded VALUES (1)');
        const acknowledgedAt = Date.now();
        const rows = await onRecord();
        assert.ok(rows.length > had, 'it is on record');
        assert.ok((rows[0]?.at.getTime() ?? Number.POSITIVE_INFINITY) <= acknowledgedAt);
        assert.match(
          rows[0]?.message ?? '',
          confirmed === 1 ? /acknowledged by pg2: 1 of 2/ : /by the primary alone: 0 of 2/,
        );
        await scene.state('degraded');
        await until(() => scene.confirmed?.copies === confirmed, { what: `${confirmed} copies` });
      }
      assert.equal(await scene.setting('pg1'), '');
      const metrics = (await (await fetch(`${scene.fairlead.http}/metrics`)).text()).split('\n');
      assert.ok(metrics.includes('fairlead_sync_copies{kind="guaranteed"} 0'));
      assert.ok(metrics.includes(`fairlead_sync_degradations_total ${(await onRecord()).length}`));
      await client.end();
    });

    it('promises again what is configured when they are back and have everything', async () => {
      await scene.cluster.node('pg2').start();
      await scene.cluster.node('pg3').start();
      await scene.counted(['pg2', 'pg3']);
      assert.equal(await scene.setting('pg1'), 'ANY 2 ("pg2", "pg3")');
      assert.match((await scene.event('sync-confirmed')).message, /every acknowledged commit is on pg2 and pg3/);
    });
  });

  describe('degrade: block', () => {
    let scene: SyncScene;
    before(async () => {
      scene = await SyncScene.start({ replication: { mode: 'sync' } });
    });
    after(() => scene?.stop());

    it('commits wait, loudly, until one returns', async () => {
      const client = await connect(scene);
      await client.query('CREATE TABLE blocked (id int)');
      await scene.cluster.node('pg2').kill9();
      await scene.cluster.node('pg3').kill9();
      await scene.state('blocked');
      let answered = false;
      const insert = client.query('INSERT INTO blocked VALUES (1)').then(() => {
        answered = true;
      });
      const waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT INTO blocked%'";
      await until(async () => (await scene.cluster.node('pg1').query(waits)).length === 1, {
        what: 'the commit to wait',
      });
      const event = await scene.event('sync-blocked');
      assert.match(event.message, /commits wait: 0 of 1 followers .*pg2 .*pg3/);
      const { synchronous } = (await httpGet(`${scene.fairlead.http}/api/cluster`)).body;
      assert.equal(synchronous.state, 'blocked');
      assert.equal(answered, false);
      assert.deepEqual(await scene.events('sync-degraded'), []);
      await scene.cluster.node('pg3').start();
      await insert;
      await scene.counted(['pg3']);
      await scene.event('sync-unblocked');
      await client.end();
    });
  });
});

describe('degrade: async with one follower: it is promoted, and nobody is left', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'sync', degrade: 'async' }, replicas: 1 });
  });
  after(() => scene?.stop());

  it('what was acknowledged is there, and commits go on, which is on record before', async () => {
    const client = await connect(scene);
    await client.query('CREATE TABLE alone (id int)');
    await client.query('INSERT INTO alone VALUES (1)');
    await scene.cluster.node('pg1').kill9();
    await scene.steady('pg2');
    await client.query('INSERT INTO alone VALUES (2)');
    assert.equal((await client.query('SELECT FROM alone')).rowCount, 2);
    await scene.state('degraded');
    const stored = "SELECT FROM fairlead.events WHERE kind = 'sync-degraded'";
    assert.ok((await scene.cluster.node('pg2').query(stored)).length > 0);
    await client.end();
  });
});
