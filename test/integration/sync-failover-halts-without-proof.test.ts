import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { httpPost } from '../support/http.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

describe('sync: the primary dies together with the follower that counts', () => {
  let scene: SyncScene;
  let counted: string;
  let other: string;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'sync' } });
  });
  after(() => scene?.stop());

  it('halts, and says why and what to do', async () => {
    const client = new pg.Client(scene.fairlead.url);
    client.on('error', () => {});
    await client.connect();
    await client.query('CREATE TABLE promised (id int)');
    for (const name of ['pg2', 'pg3']) await untilReplayed(scene.cluster, scene.cluster.node(name));
    await scene.state('confirmed');
    counted = scene.confirmed?.nodes[0] as string;
    other = counted === 'pg2' ? 'pg3' : 'pg2';
    // both at once: nobody may take its place before
    await Promise.all([scene.cluster.node(counted).freeze(), scene.cluster.node('pg1').kill9()]);
    const { assignment } = scene.fairlead.app.cluster;
    await until(() => assignment.value.phase === 'halted', { what: 'a halt', timeoutMs: 40_000 });
    const { reason } = assignment.value;
    assert.match(
      reason,
      new RegExp(
        `${other}: it may lack acknowledged commits: commits are acknowledged by ${counted}, and ${counted} does not tell`,
      ),
    );
    assert.match(
      reason,
      /Start the primary, or the followers that are missing; or accept the loss: fairlead failover --allow-data-loss/,
    );
    assert.match((await scene.event('halted')).message, /may lack acknowledged commits/);
    await client.end().catch(() => {});
  });

  it('refuses an operator who does not accept the loss', async () => {
    const { status, body } = await httpPost(`${scene.fairlead.http}/api/failover`);
    assert.equal(status, 409);
    assert.match(body.error, /may lack acknowledged commits/);
    assert.equal(scene.fairlead.app.cluster.assignment.value.primary, null);
  });

  it('promotes for one who does, writes that down, and is synchronous from the first commit', async () => {
    const { body } = await httpPost(`${scene.fairlead.http}/api/failover`, { allowDataLoss: true });
    assert.equal(body.primary, other);
    const event = await scene.event('data-loss-allowed');
    assert.match(
      event.message,
      new RegExp(`an operator accepts that ${other} may lack acknowledged commits: .*${counted}`),
    );
    const names = ['pg1', counted].sort().map((name) => `"${name}"`);
    assert.equal(await scene.setting(other), `FIRST 1 (${names.join(', ')})`);
    const stored = "SELECT FROM fairlead.events WHERE kind = 'data-loss-allowed'";
    await until(async () => (await scene.cluster.node(other).query(stored)).length === 1, {
      what: 'the event in the store',
    });
    await scene.state('blocked');
  });

  it('goes on when the follower is back', async () => {
    await scene.cluster.node(counted).thaw();
    await scene.counted([counted], 40_000);
    await scene.cluster.node(other).query('INSERT INTO promised VALUES (2)');
  });
});
