import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, directly, startControlled } from '../support/controlled.ts';
import { until } from '../support/wait.ts';

describe('a planned switchover', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startControlled(cluster);
    await cluster.node('pg1').query('CREATE TABLE kept (id int)');
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('is refused for a node that does not exist, or is the primary, with the reason', async () => {
    await assert.rejects(fairlead.controller.switchover({ to: 'pg9' }), {
      code: 'refused',
      message: /no node is called pg9/,
    });
    await assert.rejects(fairlead.controller.switchover({ to: 'pg1' }), {
      code: 'refused',
      message: /is the primary already/,
    });
    assert.equal(fairlead.model.assignment.value.primary, 'pg1');
  });

  it('is undone when the target does not catch up: the old primary takes writes again', async () => {
    await cluster.node('pg3').query('SELECT pg_wal_replay_pause()');
    await cluster.node('pg1').query('INSERT INTO kept SELECT generate_series(1, 100)');
    await assert.rejects(fairlead.controller.switchover({ to: 'pg3' }), {
      code: 'refused',
      message: /pg3 did not replay/,
    });
    await fairlead.steady('pg1');
    await cluster.node('pg3').query('SELECT pg_wal_replay_resume()');
    await until(() => cluster.node('pg1').query('INSERT INTO kept VALUES (101)'), { what: 'a write on pg1' });
  });

  it('moves the primary without losing a commit that was acknowledged, under writes', async () => {
    const writer = directly(cluster, 'pg1');
    const acknowledged: number[] = [];
    const writing = (async () => {
      for (let id = 1000; ; id++) {
        await writer.query('INSERT INTO kept VALUES ($1)', [id]);
        acknowledged.push(id);
      }
    })().catch(() => {});
    await until(() => acknowledged.length > 50, { what: 'writes' });
    const result = await fairlead.controller.switchover({ to: 'pg2' });
    writer.close();
    await writing;
    assert.equal(result.primary, 'pg2');
    assert.equal(result.timeline, 2);
    const rows = await cluster.node('pg2').query<{ id: number }>('SELECT id FROM kept WHERE id >= 1000');
    const there = new Set(rows.map((row) => row.id));
    assert.deepEqual(
      acknowledged.filter((id) => !there.has(id)),
      [],
    );
    const detail = (await fairlead.event('switchover')).detail as { lostBytes: number };
    assert.equal(detail.lostBytes, 0);
  });

  it('leaves the old primary fenced and the other replica streaming', async () => {
    await cluster.node('pg2').query('INSERT INTO kept VALUES (1)');
    const streams = () => cluster.node('pg2').query(`SELECT FROM pg_stat_replication WHERE state = 'streaming'`);
    await until(async () => (await streams()).length === 1, { what: 'pg3 to stream from pg2' });
    await assert.rejects(cluster.node('pg1').query('INSERT INTO kept VALUES (1)'), { code: '25006' });
    const pg1 = await until(
      () => {
        const node = fairlead.model.topology.value.byName.get('pg1');
        return node?.state === 'needs rejoin' ? node : null;
      },
      { what: 'pg1 to need a rejoin' },
    );
    assert.match(pg1.reason, /was primary of timeline 1/);
  });

  it('is done by an operator-forced failover too, the living primary being fenced', async () => {
    const { topology } = fairlead.model;
    await until(() => topology.value.byName.get('pg3')?.state === 'up', { what: 'pg3 to show as it is' });
    const result = await fairlead.controller.failover();
    assert.equal(result.primary, 'pg3');
    assert.equal(result.timeline, 3);
    await cluster.node('pg3').query('INSERT INTO kept VALUES (2)');
    await assert.rejects(cluster.node('pg2').query('INSERT INTO kept VALUES (2)'), { code: '25006' });
  });
});
