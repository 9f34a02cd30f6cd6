import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { RawClient } from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

describe('a replica that streams from another replica', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let client: RawClient;

  before(async () => {
    // what autovacuum commits counts as a change of anything until it is looked into
    cluster = await startTestCluster({ replicas: 2, settings: { autovacuum: 'off' } });
    await cascade();
    fairlead = await startFairlead(cluster, {
      config: { failover: { mode: 'off' }, routing: { max_lag: '1s', freshness_wait: '2s' } },
    });
    await untilServing(fairlead, 2);
    await cluster.node('pg1').query('CREATE TABLE quiet (n int); CREATE TABLE t (n int)');
    client = await RawClient.connect(fairlead.url);
    // all reads go to the one at the end
    await client.query('SELECT 1');
    await drain('pg2');
  });
  after(async () => {
    client?.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  /** pg1 → pg2 → pg3 */
  async function cascade(): Promise<void> {
    const [pg1, pg2, pg3] = [cluster.node('pg1'), cluster.node('pg2'), cluster.node('pg3')];
    const [row] = await pg3.query<{ conninfo: string }>("SELECT current_setting('primary_conninfo') AS conninfo");
    const conninfo = (row?.conninfo ?? '')
      .replace(/host='?[^' ]+'?/, `host=${pg2.host}`)
      .replace(/port='?\d+'?/, `port=${pg2.port}`);
    await pg2.query("SELECT pg_create_physical_replication_slot('cascade', true)");
    await pg3.query("ALTER SYSTEM SET primary_slot_name = 'cascade'");
    await pg3.query(`ALTER SYSTEM SET primary_conninfo = '${conninfo.replaceAll("'", "''")}'`);
    await pg3.query('SELECT pg_reload_conf()');
    await until(
      async () => (await pg2.query("SELECT FROM pg_stat_replication WHERE state = 'streaming'")).length === 1,
      { what: 'pg3 to stream from pg2' },
    );
    await pg1.query("SELECT pg_drop_replication_slot('pg3')");
  }

  const drain = (node: string) => show(fairlead.url, `DRAIN ${node}`);
  const nodeOf = async (name: string) => (await show(fairlead.url, 'SHOW NODES')).find((row) => row.name === name);

  async function routeOf(): Promise<string> {
    const [route] = await client.records('SHOW fairlead.route');
    return `${route?.node} ${route?.reason}`;
  }

  /** Writes, reads it back, and tells where that ran. */
  async function writeAndRead(): Promise<string> {
    await client.query('INSERT INTO t VALUES (1)');
    const direct = await cluster.node('pg1').query<{ n: string }>('SELECT count(*)::text AS n FROM t');
    assert.equal(await client.value('SELECT count(*) FROM t'), direct[0]?.n);
    return routeOf();
  }

  /** So many reads there; one for which it is late goes to the primary, and sees what was written all the same. */
  async function readsOnPg3(count: number): Promise<void> {
    let there = 0;
    const enough = async () => {
      if ((await writeAndRead()).startsWith('pg3 ')) there++;
      return there >= count;
    };
    await until(enough, { what: `${count} reads on pg3`, everyMs: 0, timeoutMs: 120_000 });
  }

  it('shows who feeds it', async () => {
    const shown = async () => {
      const node = await nodeOf('pg3');
      assert.deepEqual([node?.upstream, node?.state, node?.readable], ['pg2', 'up', 'yes']);
      return true;
    };
    await until(shown, { what: 'pg3 behind pg2' });
  });

  it('shows each session what it has written', async () => {
    await readsOnPg3(30);
  });

  it('loses its reads while the one between stands still, except of tables that nobody has written, and comes back', async () => {
    await until(
      async () => {
        await client.query('SELECT count(*) FROM quiet');
        return /^pg3/.test(await routeOf());
      },
      { what: 'reads on pg3' },
    );
    await cluster.node('pg2').freeze();
    try {
      assert.match(await writeAndRead(), /^pg1 no (fresh )?replica/);
      await until(
        async () => {
          await client.query('INSERT INTO t VALUES (1)');
          await client.query('SELECT count(*) FROM quiet');
          return /^pg3 fresh tables/.test(await routeOf());
        },
        { what: 'reads of a quiet table on pg3' },
      );
      await until(async () => (await nodeOf('pg3'))?.state === 'lagging', { what: 'pg3 to be beyond max_lag' });
      assert.match(await writeAndRead(), /^pg1 /);
    } finally {
      await cluster.node('pg2').thaw();
    }
    await until(async () => /^pg3 (fresh replica|caught up)/.test(await writeAndRead()), {
      what: 'reads on pg3 again',
      timeoutMs: 120_000,
    });
    await until(async () => (await nodeOf('pg3'))?.state === 'up', { what: 'pg3 to be up' });
  });

  it('is not held up by a replay that is paused in between', async () => {
    await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
    try {
      await readsOnPg3(10);
    } finally {
      await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
    }
  });
});
