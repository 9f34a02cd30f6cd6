/** What tools and people who know PgBouncer ask the admin console, over real traffic. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { RawClient } from '../support/raw-client.ts';
import { until } from '../support/wait.ts';

const PSQL = '/usr/bin/psql';

describe('the console', { timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: pg.Client[] = [];

  const connect = async (database: string) => {
    const client = new pg.Client({ connectionString: fairlead.url.replace(/postgres$/, database) });
    client.on('error', () => {});
    clients.push(client);
    await client.connect();
    return client;
  };

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, {
      config: { databases: { other: { dbname: 'postgres' }, third: { dbname: 'postgres', pool_mode: 'session' } } },
    });
    await until(async () => (await fetch(`${fairlead.http}/readyz`)).status === 200, { what: 'a primary' });
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('fills the statistics', async () => {
    const client = await connect('postgres');
    await client.query('CREATE TABLE t (i int)');
    for (let i = 0; i < 3; i++) await client.query({ name: 'put', text: 'INSERT INTO t VALUES ($1)', values: [i] });
    await client.query('BEGIN');
    await client.query('SELECT pg_sleep(0.05)');
    await client.query('COMMIT');
    const console = await connect('pgbouncer');
    const stats = (await console.query('SHOW STATS')).rows.find((row) => row.database === 'postgres');
    for (const [column, value] of Object.entries(stats)) assert.notEqual(value, null, column);
    assert.equal(Number(stats.total_query_count), 7);
    assert.equal(Number(stats.total_xact_count), 5);
    assert.equal(Number(stats.total_client_login_count), 1);
    assert.equal(Number(stats.total_bind_count), 3);
    assert.equal(Number(stats.total_client_parse_count), 1);
    assert.ok(Number(stats.total_server_parse_count) >= 1);
    assert.ok(Number(stats.total_server_assignment_count) >= 5);
    assert.ok(Number(stats.total_received) > 100 && Number(stats.total_sent) > 100);
    assert.ok(Number(stats.total_xact_time) >= 50_000 && Number(stats.total_query_time) >= 50_000);
    assert.ok(Number(stats.avg_query_time) > 0 && Number(stats.avg_query_time) < 10_000_000);
    const totals = (await console.query('SHOW STATS_TOTALS')).rows.find((row) => row.database === 'postgres');
    assert.equal(totals.query_count, stats.total_query_count);
    const all = Object.fromEntries((await console.query('SHOW TOTALS')).rows.map((row) => [row.name, row.value]));
    assert.equal(Number(all.total_query_count), 7);
    const averages = (await console.query('SHOW STATS_AVERAGES')).rows.find((row) => row.database === 'postgres');
    assert.ok(Number(averages.query_count) >= 0);
    await client.end();
    const after = (await console.query('SHOW STATS')).rows.find((row) => row.database === 'postgres');
    assert.ok(Number(after.total_sent) >= Number(stats.total_sent), 'bytes of sessions that are gone stay counted');
  });

  it("answers exactly what PgBouncer's exporter for Prometheus asks", async () => {
    const client = await connect('postgres');
    await client.query('SELECT 1');
    const raw = await RawClient.connect(fairlead.url.replace(/postgres$/, 'pgbouncer'));
    const ask = (text: string) => raw.records(text);
    assert.deepEqual(Object.keys((await ask('SHOW VERSION;'))[0] ?? {}), ['version']);
    const lists = Object.fromEntries((await ask('SHOW LISTS;')).map((row) => [row.list, row.items]));
    const known = 'databases users pools free_clients used_clients login_clients free_servers used_servers';
    for (const list of `${known} dns_names dns_zones dns_queries`.split(' ')) assert.match(lists[list] ?? '', /^\d+$/);
    const config = Object.fromEntries((await ask('SHOW CONFIG;')).map((row) => [row.key, row.value]));
    for (const key of ['max_client_conn', 'max_user_connections']) assert.match(config[key] ?? '', /^\d+$/);
    const tables = {
      databases:
        'name host port database force_user pool_size pool_mode max_connections current_connections paused disabled',
      stats_totals:
        'database query_count query_time bytes_received bytes_sent wait_time xact_count xact_time client_parse_count server_parse_count bind_count',
      pools:
        'database user cl_active cl_active_cancel_req cl_waiting cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait',
    };
    const labels = new Set(['name', 'host', 'database', 'force_user', 'pool_mode', 'user', 'port']);
    for (const [table, columns] of Object.entries(tables)) {
      const rows = await ask(`SHOW ${table};`);
      assert.ok(rows.length > 0, table);
      for (const row of rows) {
        for (const column of columns.split(' ')) {
          assert.ok(column in row, `${table}.${column}`);
          if (!labels.has(column)) assert.match(String(row[column]), /^\d+$/, `${table}.${column}`);
        }
      }
      // Prometheus refuses the same labels twice
      const ids = rows.map((row) => JSON.stringify([...labels].map((label) => row[label])));
      assert.equal(new Set(ids).size, ids.length, table);
    }
    await raw.end();
    await client.end();
  });

  it('speaks with psql', { skip: existsSync(PSQL) ? false : 'no psql' }, async () => {
    const url = fairlead.url.replace(/postgres$/, 'pgbouncer');
    const psql = (...commands: string[]) =>
      promisify(execFile)(PSQL, [url, '-X', '-At', ...commands.flatMap((c) => ['-c', c])], { timeout: 60_000 });
    const { stdout } = await psql('SHOW POOLS', 'SHOW STATE', 'RELOAD').catch((error) => error);
    assert.match(stdout, /^active\|yes$/m);
    const paused = await psql('PAUSE other', 'SHOW DATABASES', 'RESUME other');
    assert.match(paused.stdout, /^other\|.*\|1\|0\|\|$/m);
  });

  it('pauses when running work is done, holds what comes, and lets it go on', async () => {
    const busy = await connect('postgres');
    await busy.query('BEGIN');
    await busy.query('SELECT 1');
    const console = await connect('pgbouncer');
    let paused = false;
    const pause = console.query('PAUSE').then(() => {
      paused = true;
    });
    const second = await connect('pgbouncer');
    const isPaused = async () =>
      (await second.query('SHOW STATE')).rows.some((row) => row.key === 'paused' && row.value === 'yes');
    await until(isPaused, { what: 'the pause to begin' });
    assert.equal((await busy.query('SELECT 2 AS two')).rows[0].two, 2, 'an open transaction goes on');
    assert.equal(paused, false);
    const late = await connect('postgres');
    let answered = false;
    const held = late.query('SELECT 3 AS three').then(() => {
      answered = true;
    });
    await busy.query('COMMIT');
    await pause;
    assert.deepEqual((await second.query('SHOW SERVERS')).rows, [], 'every server connection is closed');
    assert.equal(answered, false);
    await assert.rejects(second.query('PAUSE'), /already suspended\/paused/);
    await second.query('RESUME');
    await held;
    for (const client of [busy, late, console, second]) await client.end();
  });

  it('gives a pause up when its operator does', async () => {
    const busy = await connect('other');
    await busy.query('BEGIN');
    const raw = await RawClient.connect(fairlead.url.replace(/postgres$/, 'pgbouncer'));
    const answer = raw.ask(Buffer.from('Q\0\0\0\x10PAUSE other\0', 'latin1'));
    const operator = () => fairlead.app.cluster.operator.value;
    await until(() => operator().pausedDatabases.has('other'), { what: 'the pause' });
    const unaffected = await connect('postgres');
    assert.equal((await unaffected.query('SELECT 1 AS one')).rows[0].one, 1);
    await raw.cancel();
    assert.match(String((await answer)[0]?.body), /57014/);
    assert.equal(operator().pausedDatabases.size, 0);
    const console = await connect('fairlead');
    await console.query('PAUSE third');
    const all = raw.ask(Buffer.from('Q\0\0\0\x0aPAUSE\0', 'latin1'));
    await until(() => operator().paused, { what: 'the pause of all' });
    await raw.cancel();
    assert.match(String((await all)[0]?.body), /57014/);
    assert.equal(operator().paused, false);
    assert.deepEqual([...operator().pausedDatabases], ['third'], 'somebody else still wants that');
    await console.query('RESUME');
    await console.end();
    await busy.query('COMMIT');
    await raw.end();
    await busy.end();
    await unaffected.end();
  });

  it('disables a database, replaces connections, ends clients', async () => {
    const console = await connect('fairlead');
    const client = await connect('other');
    // which connection serves, told in a way that does not tie the session to it
    const port = async () => (await client.query('SELECT inet_client_port() AS port')).rows[0].port;
    await console.query('DISABLE other');
    await assert.rejects(connect('other'), /database "other" is disabled/);
    const before = await port();
    await console.query('ENABLE other');
    await (await connect('other')).end();
    await console.query('RECONNECT other');
    await console.query('WAIT_CLOSE other');
    assert.notEqual(await port(), before);
    let told: pg.DatabaseError | null = null;
    client.on('error', (error) => {
      // what follows is that the connection is gone
      told ??= error as pg.DatabaseError;
    });
    const stream = await RawClient.connect(fairlead.url.replace(/postgres$/, 'other'), { replication: 'database' });
    await console.query('KILL other');
    await until(() => told?.code === '57P01', { what: 'the client to be told' });
    await until(() => stream.ended, { what: 'the end of the replication connection' });
    const servers = async () =>
      (await console.query('SHOW SERVERS')).rows.filter((row) => row.database === 'other').length;
    await until(async () => (await servers()) === 0, { what: 'the end of its server connections' });
    const next = await connect('other');
    const held = next.query('SELECT 1');
    await console.query('RESUME other');
    await held;
    await next.end();
    await console.end();
  });

  it('tells why a client keeps its connection', async () => {
    const client = await connect('postgres');
    await client.query('CREATE TEMP TABLE mine (i int)');
    const console = await connect('fairlead');
    const shown = (await console.query('SHOW CLIENTS')).rows.find((row) => row.pinned !== null);
    assert.equal(shown.pinned, 'temporary table');
    assert.match(shown.link, /^server pg1 \d+$/);
    await client.end();
    await console.end();
  });
});
