/** `failover.outcomes: resolve`: a COMMIT whose server died is answered by the one that comes after it, and never wrongly. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

describe('outcomes are resolved', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: pg.Client[] = [];
  const told: { id: number; said: string }[] = [];
  let primary = 'pg1';

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client(fairlead.url);
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    return client;
  }

  /** Begins a transaction whose COMMIT is on disk and waits for a follower that does not exist. */
  async function hangingCommit(id: number): Promise<{ client: pg.Client; answer: Promise<string> }> {
    const client = await connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO outcome VALUES ($1)', [id]);
    const node = cluster.node(primary);
    await node.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await node.query('SELECT pg_reload_conf()');
    const setting = "SELECT current_setting('synchronous_standby_names') AS names";
    await until(async () => (await node.query(setting))[0]?.names === 'nobody', { what: 'the setting' });
    const answer = client.query('COMMIT').then(
      ({ command }) => command,
      (error) => error.code as string,
    );
    const waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'";
    await until(async () => (await node.query(waits)).length > 0, { what: 'a COMMIT that waits' });
    return { client, answer };
  }

  async function noWait(node: string): Promise<void> {
    await cluster.node(node).query('ALTER SYSTEM RESET synchronous_standby_names');
    await cluster.node(node).query('SELECT pg_reload_conf()');
  }

  const has = async (id: number): Promise<boolean> =>
    (await cluster.node(primary).query('SELECT FROM outcome WHERE id = $1', [id])).length > 0;

  async function start(failover: ConfigInput['failover'] = {}): Promise<void> {
    fairlead = await startFairlead(cluster, {
      config: { failover: { outcomes: 'resolve', timeout: 4000, ...failover } },
    });
    await untilServing(fairlead, 2);
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    // a primary that is started again is waited for, however long a busy machine takes
    await start({ restart_wait: '60s' });
    await (await connect()).query('CREATE TABLE outcome (id int PRIMARY KEY)');
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('commits as before where nothing breaks', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO outcome VALUES (1)');
    assert.equal((await client.query('COMMIT')).command, 'COMMIT');
    await client.query('BEGIN');
    await client.query('INSERT INTO outcome VALUES (2)');
    assert.equal((await client.query({ text: 'COMMIT', name: 'by name' })).command, 'COMMIT');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM outcome')).rows[0].n, 2);
  });

  it('waits with the answer until commits are acknowledged, where the connection broke and the primary lives', async () => {
    const { client, answer } = await hangingCommit(10);
    const [row] = await cluster
      .node(primary)
      .query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'",
      );
    assert.ok(row);
    await noWait(primary);
    assert.equal(await answer, 'COMMIT');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM outcome WHERE id = 10')).rows[0].n, 1);
  });

  it('is told by the same primary when it is back', async () => {
    const { client, answer } = await hangingCommit(20);
    await cluster.node(primary).kill9();
    await cluster.node(primary).start();
    await noWait(primary);
    assert.equal(await answer, 'COMMIT');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM outcome WHERE id = 20')).rows[0].n, 1);
  });

  it('is told by the next primary, under clients that go on', async () => {
    // who does not come back is not waited for
    for (const client of clients.splice(0)) await client.end();
    await fairlead.stop();
    await start();
    let stop = false;
    let next = 1000;
    const runs = Array.from({ length: 8 }, async () => {
      const client = await connect();
      while (!stop) {
        const id = next++;
        let step = 'begin';
        try {
          await client.query('BEGIN');
          await client.query('INSERT INTO outcome VALUES ($1)', [id]);
          step = 'commit';
          await client.query('COMMIT');
          told.push({ id, said: 'ok' });
        } catch (error) {
          told.push({ id, said: `${(error as { code?: string }).code}` });
          if (step === 'begin') await client.query('ROLLBACK').catch(() => {});
        }
      }
    });
    await until(() => told.length > 100, { what: 'transactions' });
    await cluster.node(primary).kill9();
    const { assignment } = fairlead.app.cluster;
    await until(() => assignment.value.primary !== null && assignment.value.primary !== primary, {
      what: 'another primary',
      timeoutMs: 60_000,
    });
    primary = assignment.value.primary as string;
    await until(() => assignment.value.forks.at(-1)?.nextXid !== undefined, { what: 'the fork to know the ids' });
    const at = told.length;
    await until(() => told.length > at + 50, { what: 'transactions on the next primary', timeoutMs: 60_000 });
    stop = true;
    await Promise.all(runs);
    const counts: Record<string, number> = {};
    for (const { said } of told) counts[said] = (counts[said] ?? 0) + 1;
    const rolledBack = told.filter(({ said }) => said === '40001');
    for (const { id } of rolledBack) assert.equal(await has(id), false, `${id} was told to be rolled back`);
    assert.deepEqual(
      Object.keys(counts).filter((said) => said !== 'ok' && said !== '40001'),
      [],
      JSON.stringify(counts),
    );
  });
});
