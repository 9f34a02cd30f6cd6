import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/wait.ts';

/** The test clusters themselves: what every other scenario does to servers has to work on both backends. */
describe('a test cluster', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await startTestCluster({ replicas: 2, settings: { work_mem: '5MB' } });
  });
  after(() => cluster?.stop());

  const streaming = async () =>
    (
      await cluster
        .node('pg1')
        .query<{ name: string }>(
          "SELECT application_name AS name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1",
        )
    ).map((row) => row.name);

  it('is a primary with streaming replicas, each with its slot', async () => {
    const both = async () => {
      assert.deepEqual(await streaming(), ['pg2', 'pg3']);
      const slots = await cluster.node('pg1').query('SELECT slot_name, active FROM pg_replication_slots ORDER BY 1');
      assert.deepEqual(slots, [
        { slot_name: 'pg2', active: true },
        { slot_name: 'pg3', active: true },
      ]);
      return true;
    };
    // a receiver that heard nothing for two seconds comes again
    await until(both, { what: 'both replicas to stream' });
    for (const node of cluster.nodes) {
      const [row] = await node.query(
        "SELECT inet_server_port() AS port, pg_is_in_recovery() AS replica, current_setting('work_mem') AS memory, current_setting('wal_level') AS level",
      );
      assert.deepEqual(row, { port: node.port, replica: node.name !== 'pg1', memory: '5MB', level: 'logical' });
    }
  });

  it('a frozen server answers nothing until it is thawed', async () => {
    const primary = cluster.node('pg1');
    await primary.freeze();
    let answered = false;
    // it waits as long as it takes
    const client = new pg.Client({ connectionString: primary.localUrl });
    const answer = client.connect().then(async () => {
      answered = true;
      return (await client.query('SELECT 1')).rows;
    });
    // the replicas notice by the silence of their wal receivers, which is longer than any answer would take
    await until(async () => (await cluster.node('pg2').query('SELECT 1 FROM pg_stat_wal_receiver')).length === 0, {
      what: 'the replica giving its receiver up',
    });
    assert.equal(answered, false);
    await primary.thaw();
    assert.equal((await answer).length, 1);
    await client.end();
    await until(async () => (await streaming()).length === 2, { what: 'streaming again', timeoutMs: 60_000 });
  });

  it('a killed primary starts again with everything it had acknowledged', async () => {
    const primary = cluster.node('pg1');
    await primary.query('CREATE TABLE t AS SELECT 1 AS id');
    await primary.kill9();
    await assert.rejects(primary.query('SELECT 1'));
    await primary.start();
    assert.deepEqual(await primary.query('SELECT id FROM t'), [{ id: 1 }]);
    await until(async () => (await streaming()).length === 2, { what: 'streaming again', timeoutMs: 60_000 });
  });

  it('a stopped replica starts again and catches up', async () => {
    const replica = cluster.node('pg3');
    await replica.stop();
    await cluster.node('pg1').query('INSERT INTO t VALUES (2)');
    await replica.start();
    await until(async () => (await replica.query('SELECT id FROM t')).length === 2, { what: 'both rows on pg3' });
  });
});
