/** Each of these once ended with a hanging session, a lost connection or somebody else's transaction. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { bind, execute, parse, q, RawClient, rowsOf, sqlStateOf, sync } from '../support/raw-client.ts';
import { show, showPools, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const item = (id: number) => `SELECT v FROM items WHERE id = ${id}`;
const GUARDED = 'SELECT v FROM guarded WHERE id = 1';
const wide = (bytes: number) => `SELECT repeat('x', ${bytes}) AS v FROM generate_series(1, 1)`;
const many = (rows: number) => `SELECT repeat('x', 100000) AS v FROM generate_series(1, ${rows})`;

describe('shared connections at odd moments', { timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let direct: Connection;
  const open: RawClient[] = [];
  const running: TestFairlead[] = [];

  async function start(pool: ConfigInput['pool'], more: Partial<ConfigInput> = {}): Promise<TestFairlead> {
    const fairlead = await startFairlead(cluster, { config: { pool, failover: { mode: 'off' }, ...more } });
    running.push(fairlead);
    await untilServing(fairlead, 0);
    return fairlead;
  }
  async function connect(url: string, count: number, parameters = {}): Promise<RawClient[]> {
    const clients = await Promise.all(Array.from({ length: count }, () => RawClient.connect(url, parameters)));
    open.push(...clients);
    return clients;
  }
  /** Until it counts as a quick read: the catalog is there, and its pace is known. */
  async function learn(client: RawClient, text: string): Promise<void> {
    await until(
      async () => {
        await client.query(text);
        return (await client.query('SHOW fairlead.route'))[0]?.[1] === 'read';
      },
      { what: `a verdict on ${text}` },
    );
    for (let i = 0; i < 50; i++) await client.query(text);
  }
  async function locked(work: () => Promise<void>): Promise<void> {
    await direct.rows('BEGIN');
    await direct.rows('LOCK TABLE guarded IN ACCESS EXCLUSIVE MODE');
    try {
      await work();
    } finally {
      await direct.rows('ROLLBACK');
    }
  }
  async function pidOf(pattern: string): Promise<number> {
    const other = await Connection.open(cluster.node('pg1').url);
    try {
      const { pid } = await other.row<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE query LIKE '${pattern}' AND pid <> pg_backend_pid()`,
      );
      return pid;
    } finally {
      await other.close();
    }
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    direct = await Connection.open(cluster.node('pg1').url);
    await direct.rows(`CREATE TABLE items AS SELECT id, 'item ' || id AS v FROM generate_series(1, 60) id`);
    await direct.rows('CREATE TABLE guarded AS SELECT * FROM items');
    await direct.rows('CREATE TABLE mixed (v text)');
  });
  after(async () => {
    for (const client of open) client.vanish();
    for (const fairlead of running) await fairlead.stop();
    await direct?.close();
    await cluster?.stop();
  });

  it('whose last client did not keep up, it serves the next', async () => {
    const { url } = await start({ size: 1, shared_connections: 1 });
    const [slow, next] = (await connect(url, 2)) as [RawClient, RawClient];
    await learn(slow, wide(20_000));
    slow.socket.pause();
    slow.send(...Array.from({ length: 1500 }, () => q(wide(20_000))));
    // some of it waits at the proxy by then
    await until(async () => Number((await showPools(url))[0]?.sv_active) === 0, { what: 'the end of what it may do' });
    assert.equal(await next.value('SELECT 1'), '1');
  });

  it('whose slow reader has vanished, it comes back', async () => {
    const { url } = await start({ size: 4, shared_connections: 1 });
    const [slow] = (await connect(url, 1)) as [RawClient];
    await learn(slow, many(1));
    slow.socket.pause();
    slow.send(q(many(300)));
    await until(async () => Number((await showPools(url))[0]?.sv_active) === 1, { what: 'its answer under way' });
    slow.vanish();
    await until(
      async () => (await showPools(url)).every((pool) => Number(pool.sv_active) + Number(pool.sv_being_canceled) === 0),
      { what: 'the connection' },
    );
  });

  it('is nobody’s own when the pool mode changes meanwhile', async () => {
    const { url } = await start({ size: 1, shared_connections: 1 });
    const [a, b] = (await connect(url, 2)) as [RawClient, RawClient];
    await learn(a, GUARDED);
    await locked(async () => {
      a.send(q(GUARDED));
      const waits = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%guarded%'`;
      await until(async () => (await cluster.node('pg1').query(waits)).length > 0, { what: 'a read under way' });
      await show(url, "SET pool_mode = 'session'");
    });
    await a.untilReady();
    await a.query('BEGIN');
    await a.query("INSERT INTO mixed VALUES ('of a')");
    // a holds the only one
    b.send(q("INSERT INTO mixed VALUES ('of b')"));
    await until(async () => (await showPools(url)).some((pool) => pool.cl_waiting === '1'), { what: 'b in the queue' });
    await a.query('ROLLBACK');
    await a.end();
    assert.equal(sqlStateOf(await b.untilReady()), null);
    assert.deepEqual(await direct.rows('SELECT v FROM mixed'), [{ v: 'of b' }]);
  });

  it('with something of ours before the read, it is answered all the same', {
    skip: usesDocker() ? 'this machine cannot: processes of a container are not to be stopped from here' : false,
  }, async () => {
    const { url } = await start({ size: 1, shared_connections: 1 });
    const [a, b] = (await connect(url, 2)) as [RawClient, RawClient];
    await learn(b, item(1));
    await a.ask(parse('SELECT 1', 'mine'), sync);
    await a.query('EXECUTE mine');
    const pid = await pidOf('EXECUTE mine%');
    process.kill(pid, 'SIGSTOP');
    try {
      b.send(q(item(7)));
      // long enough to be taken for stalled
      for (let i = 0; i < 12; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    assert.deepEqual(rowsOf(await b.untilReady()), [['item 7']]);
  });

  it('leaves room for a write, however much is pipelined', async () => {
    const { url } = await start({ size: 20, max_database_connections: 4 });
    const quick = 'SELECT count(*) FROM generate_series(1, 3000)';
    const [writer, ...readers] = (await connect(url, 7)) as [RawClient, ...RawClient[]];
    await learn(writer, quick);
    for (const reader of readers) reader.send(...Array.from({ length: 20_000 }, () => q(quick)));
    await until(async () => Number((await showPools(url))[0]?.sv_shared) > 1, { what: 'many reads' });
    assert.equal(sqlStateOf(await writer.ask(q('UPDATE guarded SET v = v WHERE id = 1'))), null);
    for (const reader of readers) {
      assert.ok(reader.waiting.filter(({ type }) => type === 'Z').length < 20_000, 'the write came last');
      reader.vanish();
    }
  });

  it('tells an error on the read-only port once', async () => {
    const { app, url } = await start({ size: 1, shared_connections: 1 }, { listen_read_only: '127.0.0.1:0' });
    const readOnly = new URL(url);
    readOnly.port = String(app.listenReadOnly?.port);
    const [a, b] = (await connect(readOnly.href, 2)) as [RawClient, RawClient];
    await learn(a, item(1));
    for (let i = 0; i < 20; i++) {
      const other = a.ask(q(item(2)));
      assert.equal(sqlStateOf(await b.ask(q('SELECT nocol FROM items'))), '42703');
      assert.deepEqual(rowsOf(await other), [['item 2']]);
    }
  });

  it('keeps the unnamed statement of a session through a rerun', async () => {
    const { url } = await start({ size: 2, shared_connections: 1 });
    const [a, b] = (await connect(url, 2)) as [RawClient, RawClient];
    await learn(a, GUARDED);
    await learn(b, item(1));
    await locked(async () => {
      a.send(q(GUARDED));
      // behind it, and displaced
      const answer = await b.ask(parse(item(3)), bind(), execute(), sync);
      assert.deepEqual(rowsOf(answer), [['item 3']]);
      assert.deepEqual(rowsOf(await b.ask(bind(), execute(), sync)), [['item 3']]);
    });
    await a.untilReady();
  });
});
