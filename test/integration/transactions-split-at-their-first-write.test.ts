import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { whileReplayIsPaused } from '../support/paused-replay.ts';
import { until } from '../support/wait.ts';

type Route = { node: string; reason: string };

describe('with routing.transactions: split', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let connection: Connection;
  const open: Connection[] = [];

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, {
      // on a busy machine the replica is to be read from all the same
      config: { failover: { mode: 'off' }, routing: { transactions: 'split', freshness_wait: '5s', max_lag: '5min' } },
      cluster: { probe_timeout: '10s' },
      auth: { users: { [cluster.superuser]: cluster.password, careful: 'careful' } },
    });
    await cluster.node('pg1').query(`
      CREATE TABLE notes (id int PRIMARY KEY, text text); INSERT INTO notes VALUES (1, 'one');
      CREATE VIEW dated AS SELECT id, now() AS at FROM notes;
      CREATE ROLE careful LOGIN PASSWORD 'careful'; ALTER ROLE careful SET default_transaction_isolation = 'repeatable read';
      GRANT ALL ON ALL TABLES IN SCHEMA public TO careful;`);
    connection = await Connection.open(fairlead.url);
    open.push(connection);
    await until(
      async () => {
        await connection.rows('BEGIN');
        await connection.rows('SELECT * FROM notes');
        const { node } = await route();
        await connection.rows('COMMIT');
        return node === 'pg2';
      },
      { what: 'a transaction on the replica' },
    );
  });
  after(async () => {
    await Promise.all(open.map((one) => one.close()));
    await fairlead?.stop();
    await cluster?.stop();
  });

  const route = (of = connection) => of.row<Route>('SHOW fairlead.route');
  const said = async (of = connection) => {
    const { node, reason } = await route(of);
    return `${node} ${reason.split(':')[0]}`;
  };
  const count = async (of = connection) => Number((await of.row<{ n: string }>('SELECT count(*) AS n FROM notes')).n);

  it('a transaction that only reads stays on a replica', async () => {
    await connection.rows('BEGIN');
    for (let i = 0; i < 3; i++) {
      await connection.rows('SELECT * FROM notes WHERE id = $1', [1]);
      assert.equal(await said(), 'pg2 split transaction');
    }
    await connection.rows('COMMIT');
    assert.equal(await said(), 'pg2 split transaction');
  });

  it('one that writes moves to the primary with its settings and prepared statements, and sees what it wrote', async () => {
    const had = await count();
    await connection.rows('BEGIN');
    await connection.rows("SET LOCAL work_mem = '7MB'");
    await connection.rows('SELECT * FROM notes WHERE id = $1', [1], 'by_id');
    assert.equal(await said(), 'pg2 split transaction');
    await connection.rows("INSERT INTO notes VALUES (2, 'two')");
    assert.equal(await said(), 'pg1 transaction');
    assert.equal((await connection.row<{ work_mem: string }>('SHOW work_mem')).work_mem, '7MB');
    assert.equal((await connection.rows('SELECT * FROM notes WHERE id = $1', [2], 'by_id')).length, 1);
    assert.equal(await count(), had + 1);
    assert.equal(await said(), 'pg1 transaction');
    await connection.rows('ROLLBACK');
    assert.equal(await count(), had);
    await connection.rows('BEGIN');
    await connection.rows('SELECT 1');
    await connection.rows("UPDATE notes SET text = 'uno' WHERE id = 1");
    await connection.rows('COMMIT');
    assert.equal((await connection.row<{ text: string }>('SELECT text FROM notes WHERE id = 1')).text, 'uno');
  });

  for (const text of [
    'SELECT * FROM notes FOR UPDATE',
    'SAVEPOINT s',
    'SELECT now()',
    'SELECT CURRENT_DATE',
    'SELECT * FROM dated',
    "SELECT current_setting('transaction_read_only')",
    'SHOW transaction_read_only',
    'SELECT pg_is_in_recovery()',
    'LOCK TABLE notes',
    'DECLARE c CURSOR FOR SELECT * FROM notes',
    'SET TRANSACTION ISOLATION LEVEL READ COMMITTED',
  ]) {
    it(`${text} is not for the replica, before a read or behind one`, async () => {
      for (const first of ['SELECT 1', null]) {
        await connection.rows('BEGIN');
        if (first !== null) await connection.rows(first);
        await connection.rows(text);
        assert.match(await said(), /^pg1 /);
        await connection.rows("INSERT INTO notes VALUES (77, 'x')");
        await connection.rows('ROLLBACK');
      }
    });
  }

  it('time stands still', async () => {
    await connection.rows('BEGIN');
    const { at } = await connection.row<{ at: Date }>('SELECT now() AS at');
    await connection.rows("INSERT INTO notes VALUES (78, 'x')");
    assert.deepEqual((await connection.row<{ at: Date }>('SELECT now() AS at')).at, at);
    await connection.rows('ROLLBACK');
  });

  it('COMMIT AND CHAIN begins a transaction that may write', async () => {
    await connection.rows('BEGIN');
    await connection.rows('SELECT 1');
    await connection.rows('COMMIT AND CHAIN');
    await connection.rows("INSERT INTO notes VALUES (79, 'x')");
    await connection.rows('ROLLBACK');
  });

  it('an error ends it as ever', async () => {
    await connection.rows('BEGIN');
    await connection.rows('SELECT 1');
    await assert.rejects(connection.rows('SELECT 1/0'), { code: '22012' });
    await assert.rejects(connection.rows("INSERT INTO notes VALUES (80, 'x')"), { code: '25P02' });
    await connection.rows('ROLLBACK');
    await connection.rows("INSERT INTO notes VALUES (80, 'x')");
    await connection.rows('DELETE FROM notes WHERE id = 80');
  });

  it('a read that the replica cannot answer moves with its transaction', async () => {
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await connection.rows('BEGIN');
      await connection.rows('SELECT text FROM notes WHERE id = 1');
      assert.equal(await said(), 'pg2 split transaction');
      await cluster.node('pg1').query('ALTER TABLE notes RENAME COLUMN text TO body');
      await connection.rows('SELECT body FROM notes WHERE id = 1');
      assert.equal(await said(), 'pg1 transaction');
      await connection.rows("INSERT INTO notes VALUES (81, 'x')");
      await connection.rows('ROLLBACK');
      await cluster.node('pg1').query('ALTER TABLE notes RENAME COLUMN body TO text');
    });
  });

  it('other isolation levels are for the primary, whoever sets them', async () => {
    for (const begin of [
      'BEGIN ISOLATION LEVEL REPEATABLE READ',
      'BEGIN ISOLATION LEVEL SERIALIZABLE',
      'BEGIN READ WRITE',
    ]) {
      await connection.rows(begin);
      await connection.rows('SELECT 1');
      assert.equal(await said(), 'pg1 transaction');
      await connection.rows('COMMIT');
    }
    await connection.rows("SET default_transaction_isolation = 'repeatable read'");
    await connection.rows('BEGIN');
    await connection.rows('SELECT 1');
    assert.equal(await said(), 'pg1 transaction');
    await connection.rows('COMMIT');
    await connection.rows('RESET default_transaction_isolation');
    const url = new URL(fairlead.url);
    url.username = 'careful';
    url.password = 'careful';
    const setter = await Connection.open(url.href);
    const careful = await Connection.open(url.href);
    open.push(setter, careful);
    // what one session has set is not what another one has
    await setter.rows("SET default_transaction_isolation = 'read committed'");
    await setter.rows('BEGIN');
    await setter.rows('SELECT 1');
    await setter.rows('COMMIT');
    for (let i = 0; i < 3; i++) {
      await careful.rows('BEGIN');
      await careful.rows('SELECT 1');
      assert.equal(await said(careful), 'pg1 transaction');
      await careful.rows('COMMIT');
    }
  });

  it('what a session asks for meanwhile counts', async () => {
    for (const ask of [
      "SET LOCAL fairlead.consistency = 'primary'",
      "SET LOCAL fairlead.consistency = 'strong'",
      "SET LOCAL fairlead.max_staleness = '0ms'",
    ]) {
      await connection.rows('BEGIN');
      await connection.rows('SELECT 1');
      assert.equal(await said(), 'pg2 split transaction');
      await connection.rows(ask);
      await connection.rows('SELECT 1');
      assert.equal(await said(), 'pg1 transaction', ask);
      await connection.rows('COMMIT');
    }
    await connection.rows('BEGIN');
    await connection.rows('/* fairlead: primary */ SELECT 1');
    assert.equal(await said(), 'pg1 transaction');
    await connection.rows('COMMIT');
    const other = await Connection.open(fairlead.url);
    open.push(other);
    for (const one of [connection, other]) await one.rows("SET fairlead.causality = 'one'");
    await connection.rows('BEGIN');
    await connection.rows('SELECT 1');
    await other.rows("INSERT INTO notes VALUES (95, 'x')");
    assert.equal((await connection.rows('SELECT * FROM notes WHERE id = 95')).length, 1);
    await connection.rows('COMMIT');
    await connection.rows('RESET fairlead.causality');
  });

  it('BEGIN with a comment or a hint, and another one after an error, may write', async () => {
    for (const begin of ['BEGIN -- of the application', '/* fairlead: replica */ BEGIN', 'BEGIN']) {
      await connection.rows(begin);
      await connection.rows("SET LOCAL work_mem = '3MB'");
      await connection.rows('SELECT 1');
      await connection.rows("INSERT INTO notes VALUES (96, 'x')");
      await connection.rows('ROLLBACK');
    }
    await connection.rows('BEGIN');
    await assert.rejects(connection.rows('SELECT 1/0 FROM notes'), { code: '22012' });
    await connection.rows('ROLLBACK AND CHAIN');
    await connection.rows("INSERT INTO notes VALUES (96, 'x')");
    await connection.rows('ROLLBACK');
  });

  it('one that was lost with its replica leaves nothing behind', async () => {
    await connection.rows('BEGIN');
    await connection.rows('SELECT * FROM notes');
    assert.equal(await said(), 'pg2 split transaction');
    await cluster
      .node('pg2')
      .query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'fairlead%' OR backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
    await assert.rejects(connection.rows('SELECT * FROM notes'), { code: '40001' });
    await connection.rows('ROLLBACK');
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await cluster.node('pg1').query('CREATE TABLE newer (id int)');
      // the replica does not know it, the primary answers
      await connection.rows('SELECT * FROM newer');
      await connection.rows("INSERT INTO notes VALUES (97, 'x')");
      assert.equal((await cluster.node('pg1').query('SELECT FROM notes WHERE id = 97')).length, 1);
    });
  });

  it('it reads its own earlier writes', async () => {
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await connection.rows("INSERT INTO notes VALUES (90, 'x')");
      const quick = await startFairlead(cluster, {
        config: { failover: { mode: 'off' }, routing: { transactions: 'split', freshness_wait: '50ms' } },
      });
      try {
        const writer = await Connection.open(quick.url);
        await writer.rows("INSERT INTO notes VALUES (91, 'x')");
        await writer.rows('BEGIN');
        assert.equal((await writer.rows('SELECT * FROM notes WHERE id = 91')).length, 1);
        await writer.rows('COMMIT');
        await writer.close();
      } finally {
        await quick.stop();
      }
    });
  });
});
