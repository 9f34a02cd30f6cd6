/** Fairlead is stopped and started again between any two steps: what it goes on from is what servers and store say. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

/** Stops Fairlead as soon as `when` holds, and starts it again. @returns false when `unless` held first. */
async function restart(scene: SyncScene, when: () => boolean, unless: () => boolean): Promise<boolean> {
  const { synchrony, assignment } = scene.fairlead.app.cluster;
  const hit = await new Promise<boolean>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('neither happened within a minute')), 60_000);
    const look = () => {
      if (!when() && !unless()) return;
      clearTimeout(timer);
      for (const end of ends) end();
      resolve(when());
    };
    const ends = [synchrony.subscribe(look), assignment.subscribe(look)];
    look();
  });
  if (!hit) return false;
  await scene.stopFairlead();
  await scene.startFairlead();
  return true;
}

describe('sync: restarts in the middle of a change of followers', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'sync' } });
    await scene.cluster.node('pg1').query('CREATE TABLE kept (id int)');
  });
  after(() => scene?.stop());

  it('while it is away the follower dies: the next run replaces it', async () => {
    await scene.state('confirmed');
    const old = scene.confirmed?.nodes[0] as string;
    await scene.stopFairlead();
    await scene.cluster.node(old).kill9();
    await scene.startFairlead();
    await scene.counted([old === 'pg2' ? 'pg3' : 'pg2']);
    await scene.cluster.node(old).start();
    await until(async () => (await scene.setting('pg1')).includes('FIRST 1'), { what: 'the setting' });
  });

  it('each setting on the way is one to go on from', { timeout: 120_000 }, async (t) => {
    const seen: string[] = [];
    for (let round = 0; round < 3; round++) {
      await scene.state('confirmed');
      const old = scene.confirmed?.nodes[0] as string;
      const other = old === 'pg2' ? 'pg3' : 'pg2';
      const { nodes } = scene.fairlead.app.cluster;
      const streams = () => scene.fairlead.app.cluster.synchrony.value?.nodes.size === nodes.length - 1;
      await until(streams, { what: 'the followers' });
      await scene.cluster.node(old).kill9();
      // two restarts in one change; each at the first step of its run that is not at rest, later ones further on
      let steps = 0;
      const moving = () => {
        const { state, setting } = scene.synchrony;
        if (state !== 'changing' || setting === null) return false;
        return steps++ >= round;
      };
      const done = () => scene.synchrony.state === 'confirmed' && scene.confirmed?.nodes[0] === other;
      for (let again = 0; again < 2; again++) {
        steps = 0;
        if (!(await restart(scene, moving, done))) break;
        seen.push(await scene.setting('pg1'));
      }
      await scene.counted([other]);
      assert.equal(await scene.setting('pg1'), `FIRST 1 ("${other}")`);
      await scene.cluster.node('pg1').query('INSERT INTO kept VALUES ($1)', [round]);
      await scene.cluster.node(old).start();
      const follows = `SELECT FROM pg_stat_replication WHERE application_name = '${old}' AND state = 'streaming'`;
      await until(async () => (await scene.cluster.node('pg1').query(follows)).length === 1, {
        what: `${old} to follow`,
      });
    }
    t.diagnostic(`restarted at: ${seen.join(' | ')}`);
    assert.ok(seen.length >= 3, 'it was restarted in the middle');
  });

  it('somebody emptied the setting meanwhile: told, and promised again only when it holds', async () => {
    await scene.stopFairlead();
    await scene.cluster.node('pg1').query(`ALTER SYSTEM SET synchronous_standby_names = ''`);
    await scene.cluster.node('pg1').query('SELECT pg_reload_conf()');
    await until(async () => (await scene.setting('pg1')) === '', { what: 'the empty setting' });
    await scene.startFairlead();
    await scene.state('confirmed');
    assert.match((await scene.event('sync-lost')).message, /which Fairlead did not set/);
    assert.match(await scene.setting('pg1'), /^FIRST 1 \("pg[23]"\)$/);
  });

  it('in the middle of a failover: the promoted one ends synchronous', { timeout: 120_000 }, async () => {
    const client = new pg.Client(scene.fairlead.url);
    client.on('error', () => {});
    await client.connect();
    await client.query('INSERT INTO kept VALUES (100)');
    await scene.state('confirmed');
    const counted = scene.confirmed?.nodes[0] as string;
    const other = counted === 'pg2' ? 'pg3' : 'pg2';
    await scene.cluster.node('pg1').kill9();
    const promoted = () => scene.fairlead.app.cluster.assignment.value.primary === counted;
    assert.ok(await restart(scene, promoted, () => false));
    await scene.steady(counted);
    await scene.counted([other], 40_000);
    assert.equal(await scene.setting(counted), `FIRST 1 ("${other}")`);
    await scene.cluster.node(counted).query('INSERT INTO kept VALUES (101)');
    const rows = await scene.cluster.node(counted).query<{ id: number }>('SELECT id FROM kept ORDER BY id');
    assert.deepEqual(
      rows.map(({ id }) => id),
      [0, 1, 2, 100, 101],
    );
    await client.end().catch(() => {});
  });
});

describe('quorum: it is stopped while it makes sure that commits wait at all', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'quorum' } }, { confirmed: false });
  });
  after(() => scene?.stop());

  it('leaves nothing behind that holds commits back, and the next run makes it synchronous', async () => {
    const closed = async () => (await scene.setting('pg1')).includes('FIRST 1 ("fairlead_change")');
    // a slow look may miss it: then this run was quick enough, and there is nothing to leave behind
    await until(async () => (await closed()) || scene.synchrony.state === 'confirmed', { what: 'a step', everyMs: 1 });
    await scene.stopFairlead();
    assert.doesNotMatch(await scene.setting('pg1'), /^FIRST 1 \("fairlead_change"\)$/);
    await scene.cluster.node('pg1').query('CREATE TABLE goes_on ()');
    await scene.startFairlead();
    await scene.counted(['pg2', 'pg3']);
  });
});

describe('quorum: a Fairlead that starts where the primary is dead', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'quorum' } });
    await scene.counted(['pg2', 'pg3']);
    await scene.cluster.node('pg1').query('CREATE TABLE kept (id int)');
  });
  after(() => scene?.stop());

  it('does not trust one follower alone: the last setting may be known to the others only', async () => {
    await scene.stopFairlead();
    await scene.cluster.node('pg2').freeze();
    await scene.cluster.node('pg1').query('INSERT INTO kept VALUES (1)');
    await scene.cluster.node('pg1').kill9();
    await scene.startFairlead();
    const { assignment } = scene.fairlead.app.cluster;
    // a busy pg3 may count as one of them at first
    const why = /pg3: .*did not see the primary alive.* 1 followers that do not answer/;
    await until(
      () => {
        const { phase, reason } = assignment.value;
        if (phase !== 'halted' || !why.test(reason)) throw new Error(`${phase}: ${reason}`);
        return true;
      },
      { what: 'a halt', timeoutMs: 40_000 },
    );
  });

  it('promotes the one that has everything once enough of them answer', async () => {
    await scene.cluster.node('pg2').thaw();
    await scene.steady('pg3', 40_000);
    assert.equal((await scene.cluster.node('pg3').query('SELECT FROM kept')).length, 1);
    await scene.counted(['pg2'], 40_000);
  });
});
