import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { until } from '../support/wait.ts';

describe('databases come and go', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let admin: Connection;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, { config: { failover: { mode: 'off' } } });
    await until(() => fairlead.app.cluster.topology.value.replicas.length === 1, { what: 'primary and replica' });
    admin = await Connection.open(fairlead.url);
  });

  after(async () => {
    await admin?.close();
    await fairlead?.stop();
    await cluster?.stop();
  });

  const urlOf = (database: string) => fairlead.url.replace(/\/postgres$/, `/${database}`);
  const direct = (text: string) => cluster.node('pg1').query(text);
  /** Servers wait five seconds for those that are connected; on a busy machine that may be too short. */
  const atLast = (text: string) => until(() => direct(text), { what: text });
  const stateOf = (error: { code?: string; message: string }) => error.code ?? error.message;
  const outcome = (promise: Promise<unknown>) => promise.then(() => 'done', stateOf);
  /** As a statement of a client learns it, or, a moment later, the client itself. */
  async function assertEnded(connection: Connection): Promise<void> {
    const said = await outcome(connection.rows('INSERT INTO t VALUES (2)'));
    assert.ok(said === '3D000' || said === '57P04' || connection.lost !== null, said);
    await until(() => connection.lost !== null, { what: 'the end of the session' });
  }
  const exists = async (database: string) =>
    (await direct(`SELECT FROM pg_database WHERE datname = '${database}'`)).length > 0;

  /** A client that has read and written there: idle server connections to primary and replica remain. */
  async function client(database: string): Promise<Connection> {
    const connection = await Connection.open(urlOf(database));
    await connection.rows('CREATE TABLE IF NOT EXISTS t (v int)');
    await connection.rows('INSERT INTO t VALUES (1)');
    await until(async () => (await connection.rows('SELECT v FROM t')).length > 0, { what: 'the row' });
    await connection.rows('/* fairlead: replica */ SELECT v FROM t');
    return connection;
  }

  it('created and used at once, dropped with a client connected whose next statement ends it', async () => {
    await admin.rows('CREATE DATABASE a1');
    const connection = await client('a1');
    await admin.rows('DROP DATABASE a1');
    assert.equal(await exists('a1'), false);
    await assertEnded(connection);
    assert.equal(await outcome(Connection.open(urlOf('a1'))), '3D000');
  });

  it('made again under the same name: nothing of the old one is known any more', async () => {
    await admin.rows('CREATE DATABASE a2');
    const before = await client('a2');
    await before.rows(`CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'`);
    await before.rows('SELECT f()');
    await before.close();
    await admin.rows('DROP DATABASE a2');
    await admin.rows('CREATE DATABASE a2');
    const now = await Connection.open(urlOf('a2'));
    await now.rows('CREATE TABLE u (v int)');
    await now.rows(`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO u VALUES (7) RETURNING v'`);
    assert.deepEqual(await now.rows('SELECT f()'), [{ f: 7 }]);
    assert.deepEqual(await now.rows('SELECT v FROM u'), [{ v: 7 }]);
    assert.equal(await outcome(now.rows('SELECT v FROM t')), '42P01');
    await now.close();
  });

  it('dropped behind its back, plainly and with force', async () => {
    for (const force of ['', ' WITH (FORCE)']) {
      await admin.rows('CREATE DATABASE a3');
      const idle = await client('a3');
      await atLast(`DROP DATABASE a3${force}`);
      await assertEnded(idle);
      assert.equal(await outcome(Connection.open(urlOf('a3'))), '3D000');
    }
  });

  it('dropped: its clients hear of it without asking, also those that listen', async () => {
    await admin.rows('CREATE DATABASE a0');
    const idle = await client('a0');
    // only when idle connections were closed for it: the watch has seen the database by then
    await atLast('CREATE DATABASE copy_of_a0 TEMPLATE a0');
    const listening = await client('a0');
    await listening.rows('LISTEN news');
    await atLast('DROP DATABASE a0 WITH (FORCE)');
    for (const one of [idle, listening]) {
      await until(() => one.lost !== null, { what: 'the end of the session' });
      assert.match(one.lost ?? '', /57P04|3D000/);
    }
  });

  it('dropped with force and made again: nobody is handed a dead connection', async () => {
    await direct('CREATE DATABASE a4');
    for (let round = 0; round < 3; round++) {
      const first = [await client('a4'), await client('a4'), await client('a4')];
      await atLast('DROP DATABASE a4 WITH (FORCE)');
      await direct('CREATE DATABASE a4');
      const next = await Connection.open(urlOf('a4'));
      await next.rows('CREATE TABLE w (v int)');
      await next.rows('INSERT INTO w VALUES (1)');
      assert.deepEqual(await next.rows('SELECT v FROM w'), [{ v: 1 }]);
      await next.close();
      for (const one of first) {
        // to the old ones the new database is the same as after a reconnect; or they were ended in between
        const said = await outcome(one.rows('SELECT v FROM t'));
        assert.ok(['42P01', 'done', '3D000', '57P04'].includes(said) || one.lost !== null, said);
        await one.close().catch(() => {});
      }
    }
  });

  it('keeps a server connection that was ended while idle from everybody', async () => {
    await admin.rows('CREATE DATABASE a5');
    const one = await client('a5');
    for (let round = 0; round < 10; round++) {
      await direct(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'a5' AND state = 'idle'`);
      // with parameters: a simple query that meets the goodbye on its way may have run, and its outcome is called unknown
      await one.rows('INSERT INTO t VALUES ($1)', [100 + round]);
      await one.rows('SELECT v FROM t');
    }
    const rows = await one.rows<{ n: number }>(
      'SELECT count(DISTINCT v)::int AS n, count(*)::int AS all FROM t WHERE v >= 100',
    );
    assert.deepEqual(rows, [{ n: 10, all: 10 }]);
    await one.close();
  });

  it('renamed, copied and moved while clients are connected', async () => {
    await admin.rows('CREATE DATABASE a6');
    const one = await client('a6');
    await admin.rows('CREATE DATABASE a7 TEMPLATE a6');
    await one.rows('SELECT v FROM t');
    await admin.rows(`CREATE DATABASE a8 TEMPLATE 'a6'`);
    await one.rows('SELECT v FROM t');
    await admin.rows('ALTER DATABASE a6 RENAME TO a9');
    await assertEnded(one);
    const renamed = await client('a9');
    await atLast('CREATE DATABASE b1 TEMPLATE a9');
    await atLast('ALTER DATABASE a9 RENAME TO b2');
    await renamed.close().catch(() => {});
    for (const name of ['a7', 'a8', 'b1', 'b2']) {
      const copy = await client(name);
      assert.ok((await copy.rows('SELECT v FROM t')).length > 1);
      await copy.close();
    }
  });

  it('held by a client inside a transaction: the server says so, as without us', async () => {
    await admin.rows('CREATE DATABASE c1');
    const busy = await client('c1');
    await busy.rows('BEGIN');
    await busy.rows('INSERT INTO t VALUES (5)');
    assert.equal(await outcome(admin.rows('DROP DATABASE c1')), '55006');
    await busy.rows('COMMIT');
    await admin.rows('DROP DATABASE c1');
    await busy.close().catch(() => {});
  });

  it('dropped in the extended protocol, and with LISTEN used before', async () => {
    await admin.rows('CREATE DATABASE c2');
    const listener = await client('c2');
    await listener.rows('LISTEN news');
    await listener.rows('UNLISTEN news');
    await listener.close();
    await admin.rows('DROP DATABASE IF EXISTS c2', []);
    assert.equal(await exists('c2'), false);
  });
});
