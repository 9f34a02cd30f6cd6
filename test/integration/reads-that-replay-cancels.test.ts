import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

describe('a read that is in the way of replay', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  before(async () => {
    // a replica cancels at once what still needs the rows that replay removes
    const settings = { hot_standby_feedback: false, max_standby_streaming_delay: 0, autovacuum: false };
    cluster = await startTestCluster({ replicas: 1, settings });
    // nor is the replica left because it is slow to answer
    fairlead = await startFairlead(cluster, { cluster: { probe_timeout: '10s' } });
    await untilServing(fairlead, 1);
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('is cancelled by the replica, and answered by the primary', { timeout: 180_000 }, async () => {
    const [pg1, pg2] = [cluster.node('pg1'), cluster.node('pg2')];
    await pg1.query('CREATE TABLE busy AS SELECT generate_series(1, 1000) AS id');
    await until(async () => (await pg2.query('SELECT FROM busy')).length === 1000, { what: 'the rows on pg2' });
    const client = await Connection.open(fairlead.url);
    try {
      await client.rows("SET fairlead.consistency = 'eventual'");
      // for a minute, unless the rows are gone
      const nap = 'pg_sleep((SELECT count(*) / 16.0 FROM busy WHERE id > 10))';
      const read = client.row<{ n: number }>(`SELECT count(*)::int AS n FROM busy, ${nap}`);
      const runs = `SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count%busy, pg_sleep%'`;
      await until(async () => (await pg2.query(runs)).length === 1, { what: 'the read on pg2' });
      await pg1.query('DELETE FROM busy WHERE id > 10');
      // as long as somebody's snapshot still needs the rows, they stay
      await until(
        async () => {
          await pg1.query('VACUUM busy');
          return (await pg2.query(runs)).length === 0;
        },
        { what: 'the read to be cancelled', timeoutMs: 40_000, everyMs: 100 },
      );
      assert.deepEqual(await read, { n: 10 });
      // it ran there, and ended here
      assert.equal((await client.row<{ node: string }>('SHOW fairlead.route')).node, 'pg1');
      assert.equal(client.lost, null);
      assert.equal(fairlead.app.cluster.assignment.value.epoch, 1);
    } finally {
      await client.close();
    }
  });
});
