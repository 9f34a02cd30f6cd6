/** Pool modes, sizes and limits, per database and per user. Every database here is another name of the same one. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { bind, execute, parse, q, RawClient, rowsOf, sqlStateOf, sync } from '../support/raw-client.ts';
import { until } from '../support/wait.ts';

const DBNAME = { dbname: 'postgres' };

describe('pools', { timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: pg.Client[] = [];

  const connect = async (database: string, user = cluster.superuser, password = cluster.password) => {
    const url = new URL(fairlead.url);
    const client = new pg.Client({ host: url.hostname, port: Number(url.port), user, password, database });
    client.on('error', () => {});
    clients.push(client);
    await client.connect();
    return client;
  };
  const console_ = async (text: string) => {
    const client = await connect('fairlead');
    try {
      return (await client.query(text)).rows as Record<string, string>[];
    } finally {
      await client.end();
    }
  };
  const pool = async (database: string, user = cluster.superuser) =>
    (await console_('SHOW POOLS')).find((row) => row.database === database && row.user === user);
  const servers = async (database: string) =>
    (await console_('SHOW SERVERS')).filter((row) => row.database === database);

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    const primary = cluster.node('pg1');
    await primary.query("CREATE ROLE one LOGIN PASSWORD 'one'");
    await primary.query("CREATE ROLE two LOGIN PASSWORD 'two'");
    await primary.query("CREATE ROLE slow LOGIN PASSWORD 'slow'");
    await primary.query("CREATE ROLE idle LOGIN PASSWORD 'idle'");
    fairlead = await startFairlead(cluster, {
      config: {
        pool: { reserve_timeout: 300, check_delay: 100, checkout_timeout: 60_000, connect_timeout: 4000 },
        databases: {
          stmt: { ...DBNAME, pool_mode: 'statement' },
          sess: { ...DBNAME, pool_mode: 'session', size: 1 },
          tiny: { ...DBNAME, size: 1 },
          shared: { ...DBNAME, size: 2, max_connections: 2 },
          mine_a: { ...DBNAME, size: 1 },
          mine_b: { ...DBNAME, size: 1 },
          crowd_a: { ...DBNAME, max_connections: 2 },
          crowd_b: { ...DBNAME },
          warm: { ...DBNAME, min_size: 3 },
          reserved: { ...DBNAME, size: 1, reserve_size: 1 },
          checked: { ...DBNAME, size: 1 },
          few: { ...DBNAME, max_clients: 1 },
          forced: { ...DBNAME, user: 'one', password: 'one' },
        },
        users: {
          two: { max_connections: 1 },
          slow: { query_timeout: 300, pool_mode: 'statement', max_clients: 2 },
          idle: { client_idle_timeout: 500 },
        },
      },
      auth: {
        users: { [cluster.superuser]: cluster.password, one: 'one', two: 'two', slow: 'slow', idle: 'idle' },
      },
    });
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('statement: no transaction blocks, but texts and pipelines that end theirs', async () => {
    const url = fairlead.url.replace(/postgres$/, 'stmt');
    const client = await RawClient.connect(url);
    const refused = await client.ask(q('BEGIN'));
    assert.equal(sqlStateOf(refused), '08P01');
    assert.match(String(refused[0]?.body), /transaction blocks not allowed in statement pooling mode/);
    assert.deepEqual(rowsOf(await client.ask(q('BEGIN; SELECT 7; COMMIT'))), [['7']]);
    assert.deepEqual(rowsOf(await client.ask(q('SELECT 1; SELECT 2'))), [['1'], ['2']]);
    const batch = await client.ask(parse('START TRANSACTION'), bind(), execute(), sync);
    assert.equal(sqlStateOf(batch), '08P01');
    const pipeline = ['BEGIN', 'SELECT 8', 'COMMIT'].flatMap((text) => [parse(text), bind(), execute()]);
    assert.deepEqual(rowsOf(await client.ask(...pipeline, sync)), [['8']]);
    assert.deepEqual(rowsOf(await client.ask(q('SELECT 3'))), [['3']]);
    client.send(q('SELECT 1; BEGIN'));
    await until(() => client.ended, { what: 'the session to be ended' });
  });

  it('session: one client after the other, each finds a clean connection', async () => {
    const first = await connect('sess');
    const pid = (await first.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    await first.query("CREATE TEMP TABLE t (i int); SET work_mem = '7MB'; SET my.own = 'x'");
    await first.query('PREPARE p AS SELECT 1; LISTEN c; SELECT pg_advisory_lock(7)');
    const second = await connect('sess');
    const waiting = second.query('SELECT pg_backend_pid() AS pid');
    await until(async () => Number((await pool('sess'))?.cl_waiting) === 1, { what: 'the second client to wait' });
    await first.end();
    assert.equal((await waiting).rows[0].pid, pid);
    assert.equal((await second.query('SHOW work_mem')).rows[0].work_mem, '4MB');
    assert.equal((await second.query("SELECT current_setting('my.own', true) AS own")).rows[0].own || null, null);
    assert.deepEqual((await second.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")).rows, []);
    assert.deepEqual((await second.query("SELECT 1 FROM pg_class WHERE relname = 't'")).rows, []);
    await second.query('PREPARE p AS SELECT 1');
    await second.end();
  });

  it('transaction: whoever waits longest is served first', async () => {
    const holder = await connect('tiny');
    await holder.query('BEGIN');
    await holder.query('SELECT 1');
    const order: number[] = [];
    const waiting: Promise<unknown>[] = [];
    for (let i = 0; i < 5; i++) {
      const client = await connect('tiny');
      waiting.push(client.query('SELECT 1').then(() => order.push(i)));
      await until(async () => Number((await pool('tiny'))?.cl_waiting) === i + 1, { what: `${i + 1} to wait` });
    }
    await holder.query('COMMIT');
    await Promise.all(waiting);
    assert.deepEqual(order, [0, 1, 2, 3, 4]);
    assert.equal((await servers('tiny')).length, 1);
  });

  it('users of one database share its limit: an idle connection makes room, a busy one when it is given back', async () => {
    const a = await connect('shared', 'one', 'one');
    const b = await connect('shared');
    await a.query('BEGIN; SELECT 1');
    const a2 = await connect('shared', 'one', 'one');
    await a2.query('SELECT 1');
    await b.query('SELECT 1');
    assert.equal((await servers('shared')).length, 2, 'the idle one of the first user was closed');
    await b.query('BEGIN; SELECT 1');
    const late = a2.query('SELECT 1');
    const later = (await connect('shared')).query('SELECT 1');
    await until(async () => Number((await pool('shared'))?.cl_waiting) === 1, { what: 'both to wait' });
    await a.query('COMMIT');
    await late;
    await later;
    await b.query('COMMIT');
    assert.ok((await servers('shared')).length <= 2);
  });

  it('databases of one user share its limit, and nobody starves while the other is busy', async () => {
    const a = await connect('mine_a', 'two', 'two');
    const b = await connect('mine_b', 'two', 'two');
    let going = true;
    const busy = (async () => {
      while (going) await a.query('SELECT 1');
    })();
    for (let i = 0; i < 3; i++) await b.query('SELECT 1');
    going = false;
    await busy;
    const all = (await console_('SHOW SERVERS')).filter((row) => row.user === 'two');
    assert.equal(all.length, 1);
  });

  it('holds shared limits under a crowd, and serves everybody', async () => {
    const crowd = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        connect(i % 3 === 0 ? 'crowd_b' : 'crowd_a', i % 2 === 0 ? 'one' : 'two', i % 2 === 0 ? 'one' : 'two'),
      ),
    );
    const served = crowd.map(() => 0);
    let most = { ofDatabase: 0, ofUser: 0 };
    let going = true;
    const watch = (async () => {
      const console = await connect('fairlead');
      while (going) {
        const all = (await console.query('SHOW SERVERS')).rows.filter((row) => row.database.startsWith('crowd'));
        const ofDatabase = all.filter((row) => row.database === 'crowd_a').length;
        const ofUser = all.filter((row) => row.user === 'two').length;
        most = { ofDatabase: Math.max(most.ofDatabase, ofDatabase), ofUser: Math.max(most.ofUser, ofUser) };
      }
      await console.end();
    })();
    const startedMs = performance.now();
    // for a while, and until the limits were seen to be reached
    const goesOn = () => {
      const forMs = performance.now() - startedMs;
      return forMs < 1500 || (forMs < 30_000 && (most.ofDatabase < 2 || most.ofUser < 1));
    };
    await Promise.all(
      crowd.map(async (client, i) => {
        while (goesOn()) {
          await client.query(i % 4 === 0 ? 'BEGIN; SELECT pg_sleep(0.005); COMMIT' : 'SELECT 1');
          served[i] = (served[i] ?? 0) + 1;
        }
      }),
    );
    going = false;
    await watch;
    assert.deepEqual(most, { ofDatabase: 2, ofUser: 1 });
    assert.ok(Math.min(...served) > 0, `served: ${served.join(' ')}`);
    await Promise.all(crowd.map((client) => client.end()));
  });

  it('keeps the least size ready while there are clients', async () => {
    const client = await connect('warm');
    await client.query('SELECT 1');
    await until(async () => (await servers('warm')).length === 3, { what: 'three connections' });
    await client.end();
  });

  it('opens one of the reserve for a client that waits too long', async () => {
    const holder = await connect('reserved');
    await holder.query('BEGIN; SELECT 1');
    const second = await connect('reserved');
    const startedMs = performance.now();
    await second.query('SELECT 1');
    // timers may be a millisecond early
    assert.ok(performance.now() - startedMs >= 299);
    assert.equal((await servers('reserved')).length, 2);
    await holder.query('COMMIT');
    await until(async () => (await servers('reserved')).length === 1, { what: 'the reserve to be closed' });
  });

  it('cancels statements that run too long, and goes on', async () => {
    const client = await connect('postgres', 'slow', 'slow');
    await assert.rejects(client.query('SELECT pg_sleep(20)'), (error: pg.DatabaseError) => error.code === '57014');
    // on a busy machine that may take too long as well
    await until(async () => (await client.query('SELECT 2 AS two')).rows[0].two === 2, { what: 'an answer in time' });
    await client.end();
  });

  it('ends clients that do nothing for too long', async () => {
    const client = await connect('postgres', 'idle', 'idle');
    let ended: pg.DatabaseError | null = null;
    client.on('error', (error) => {
      ended ??= error as pg.DatabaseError;
    });
    await until(() => ended?.code === '57P05', { what: 'the idle client to be ended' });
  });

  it('counts clients per database and per user', async () => {
    const first = await connect('few');
    await assert.rejects(connect('few'), (error: pg.DatabaseError) => error.code === '53300');
    await first.end();
    const second = await until(() => connect('few').catch(() => null), { what: 'room for another client' });
    await second.end();
    const slow = () => until(() => connect('postgres', 'slow', 'slow').catch(() => null), { what: 'room for another' });
    const [s1, s2] = [await slow(), await slow()];
    await assert.rejects(connect('postgres', 'slow', 'slow'), /too many clients for user "slow"/);
    await Promise.all([s1.end(), s2.end()]);
  });

  it('counts replication connections, and lets the console in beyond the limit of all', async () => {
    const url = fairlead.url.replace(/postgres$/, 'few');
    const replication = () => RawClient.connect(url, { replication: 'database' });
    const stream = await until(() => replication().catch(() => null), { what: 'room' });
    await assert.rejects(replication(), { code: '53300' });
    await assert.rejects(connect('few'), { code: '53300' });
    await stream.end();
    const client = await connect('postgres');
    await console_('SET pool.max_clients = 1');
    await assert.rejects(connect('postgres'), { code: '53300' });
    await console_('SET pool.max_clients = 1000');
    await client.end();
  });

  it('logs in to servers as the user that a database prescribes', async () => {
    const client = await connect('forced');
    assert.equal((await client.query('SELECT current_user AS name')).rows[0].name, 'one');
    assert.equal((await client.query('SELECT current_database() AS name')).rows[0].name, 'postgres');
    await cluster.node('pg1').query("ALTER ROLE one PASSWORD 'renewed'");
    await console_("SET databases.forced.password = 'renewed'");
    assert.equal((await client.query('SELECT current_user AS name')).rows[0].name, 'one', 'with the password of now');
  });

  it('asks a connection that was idle long whether it lives, and opens another when it does not', async (t) => {
    if (cluster.backend === 'docker') return t.skip('needs the process of a backend');
    const client = await connect('checked');
    const port = async () => (await client.query('SELECT inet_client_port() AS port')).rows[0].port;
    const before = await port();
    // `used` in PgBouncer's words: idle for so long that it is asked before it is used
    await until(async () => (await servers('checked'))[0]?.state === 'used', {
      what: 'the connection to be idle long',
    });
    const pid = Number((await servers('checked'))[0]?.remote_pid);
    process.kill(pid, 'SIGSTOP');
    try {
      assert.notEqual(await port(), before);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });
});
