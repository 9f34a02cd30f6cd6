/** When a server connection dies, the client is told "again" only where nothing can have happened. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { bind, execute, flush, parse, RawClient } from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

describe('outcomes are told honestly', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: pg.Client[] = [];

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client(fairlead.url);
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    return client;
  }

  /** Ends the server's session that runs a statement like this, once it sleeps: what stands before that is done. */
  async function terminate(node: string, like: string): Promise<void> {
    const text = `SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
      WHERE wait_event = 'PgSleep' AND query LIKE $1 AND pid <> pg_backend_pid()`;
    await until(async () => (await cluster.node(node).query(text, [like])).length > 0, { what: `${like} on ${node}` });
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    fairlead = await startFairlead(cluster);
    await untilServing(fairlead, 2);
    const client = await connect();
    await client.query('CREATE TABLE told (id int)');
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('knows that a COMMIT among several statements may have happened', async () => {
    const client = await connect();
    await client.query('BEGIN');
    const lost = assert.rejects(client.query('INSERT INTO told VALUES (1); COMMIT; SELECT pg_sleep(60)'), {
      code: '08007',
    });
    await terminate('pg1', '%pg_sleep(60)%');
    await lost;
    assert.equal((await client.query('SELECT count(*)::int AS n FROM told WHERE id = 1')).rows[0].n, 1);
  });

  it('says "again" for a transaction that cannot have been committed, and refuses all until it is ended', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO told VALUES (2)');
    const lost = assert.rejects(client.query('SELECT pg_sleep(61)'), { code: '40001' });
    await terminate('pg1', '%pg_sleep(61)%');
    await lost;
    await assert.rejects(client.query('INSERT INTO told VALUES (2)'), { code: '25P02' });
    assert.equal((await client.query('COMMIT')).command, 'ROLLBACK');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM told WHERE id = 2')).rows[0].n, 0);
  });

  it('does not take a batch that began with a read for one', async () => {
    const raw = await RawClient.connect(fairlead.url);
    try {
      raw.send(parse('SELECT 1'), bind(), execute(), flush);
      await raw.untilType('C');
      raw.send(parse('INSERT INTO told SELECT 3 FROM pg_sleep(62)'), bind(), execute(), flush);
      await terminate('pg1', '%pg_sleep(62)%');
      const error = (await raw.untilType('E')).at(-1);
      assert.match(error?.body.toString('latin1') ?? '', /C08007\0/);
    } finally {
      raw.socket.destroy();
    }
  });

  it('runs a read whose server session was ended once more, and not for ever', async () => {
    const client = await connect();
    const text = 'SELECT count(*) FROM generate_series(1, 1), pg_sleep(63)';
    const lost = assert.rejects(client.query(text), { code: '08006' });
    const nodes = ['pg1', 'pg2', 'pg3'];
    const ended: string[] = [];
    /** One that was told to end may show for a while. */
    const told = new Set<string>();
    while (ended.length < 2) {
      for (const node of nodes) {
        const [row] = await cluster
          .node(node)
          .query<{ pid: number }>(
            `SELECT pid, pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(63)%' AND pid <> pg_backend_pid()`,
          );
        if (row === undefined || told.has(`${node} ${row.pid}`)) continue;
        told.add(`${node} ${row.pid}`);
        ended.push(node);
      }
    }
    await lost;
    assert.notEqual(ended[0], ended[1]);
  });
});
