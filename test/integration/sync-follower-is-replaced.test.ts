import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { setHba } from '../support/server-files.ts';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

/** Two seconds, and what a busy machine takes. */
const SOON_MS = 9000;

describe('sync: the synchronous follower dies', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'sync' } });
  });
  after(() => scene?.stop());

  it('one follower counts, the primary waits for it, and whoever may follow is prepared', async () => {
    assert.equal(scene.confirmed?.copies, 1);
    const [counted] = scene.confirmed?.nodes ?? [];
    assert.equal(await scene.setting('pg1'), `FIRST 1 ("${counted}")`);
    await until(async () => (await scene.setting('pg2')) === 'FIRST 1 ("pg1", "pg3")', { what: 'the preset of pg2' });
    await until(async () => (await scene.setting('pg3')) === 'FIRST 1 ("pg1", "pg2")', { what: 'the preset of pg3' });
    const { synchronous, nodes } = await scene.api('/api/cluster');
    assert.deepEqual(synchronous.confirmed, [scene.confirmed]);
    assert.equal(nodes.find((node: { name: string }) => node.name === counted).sync, 'sync');
  });

  for (const [how, ail] of [
    ['killed', (name: string) => scene.cluster.node(name).kill9()],
    ['frozen', (name: string) => scene.cluster.node(name).freeze()],
  ] as const) {
    it(`${how}: another takes its place, and commits go on`, async (t) => {
      const old = scene.confirmed?.nodes[0] as string;
      const other = old === 'pg2' ? 'pg3' : 'pg2';
      const client = new pg.Client(scene.fairlead.url);
      await client.connect();
      await client.query(`CREATE TABLE ${how} (id int)`);
      const startedMs = performance.now();
      await ail(old);
      await client.query(`INSERT INTO ${how} VALUES (1)`);
      const tookMs = performance.now() - startedMs;
      await scene.counted([other]);
      t.diagnostic(`a commit took ${Math.round(tookMs)} ms`);
      // far less than wal_sender_timeout, which would end the wait for a connection that hangs
      assert.ok(tookMs < SOON_MS, `${tookMs} ms`);
      await client.end();
      assert.equal(await scene.setting('pg1'), `FIRST 1 ("${other}")`);
      const event = await scene.event('sync-changed');
      assert.match(event.message, new RegExp(`on ${other}`));
      await scene.cluster.node(old).thaw();
      if (how === 'killed') await scene.cluster.node(old).start();
      const streams = `SELECT FROM pg_stat_replication WHERE application_name = '${old}' AND state = 'streaming'`;
      await until(async () => (await scene.cluster.node('pg1').query(streams)).length === 1, {
        what: `${old} to stream again`,
      });
    });
  }
});

/** Of Fairlead's own connections here: the test itself comes in by another. */
const OWN = 'template1';

describe('sync: the synchronous follower streams, and refuses our login', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'sync' }, database: OWN });
  });
  after(() => scene?.stop());

  it('could not prove at a failover what it has: another takes its place', async (t) => {
    if (scene.cluster.backend !== 'embedded') return t.skip('CANNOT: files of servers of this machine only');
    const old = scene.confirmed?.nodes[0] as string;
    const other = old === 'pg2' ? 'pg3' : 'pg2';
    const node = scene.cluster.node(old);
    const streams = `SELECT pid FROM pg_stat_replication WHERE application_name = '${old}' AND state = 'streaming'`;
    const before = await scene.cluster.node('pg1').query(streams);
    assert.equal(before.length, 1);
    await setHba(scene.cluster, [`host ${OWN} all 127.0.0.1/32 reject`], [node]);
    await node.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [OWN]);
    await scene.counted([other]);
    assert.deepEqual(await scene.cluster.node('pg1').query(streams), before, 'it streams all the while');
    await setHba(scene.cluster, [], [node]);
    await scene.cluster.node(other).kill9();
    await scene.counted([old]);
  });
});
