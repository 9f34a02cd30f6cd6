import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { needsProgram } from '../support/needs.ts';
import {
  bind,
  describePortal,
  execute,
  parse,
  q,
  RawClient,
  rowsOf,
  sqlStateOf,
  sync,
  typesOf,
  valuesOf,
} from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const run = promisify(execFile);

describe('a port that takes writes and a port that looks like a standby', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let readOnly: string;
  const open: RawClient[] = [];

  async function client(url: string, parameters: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    const one = await RawClient.connect(url, parameters);
    open.push(one);
    return one;
  }
  const pause = (on: boolean) => cluster.node('pg2').query(`SELECT pg_wal_replay_${on ? 'pause' : 'resume'}()`);

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, { config: { listen_read_only: '127.0.0.1:0' } });
    const url = new URL(fairlead.url);
    url.port = String(fairlead.app.listenReadOnly?.port);
    readOnly = url.href;
    await untilServing(fairlead, 1);
    const one = await client(fairlead.url);
    await one.query('CREATE TABLE t (id int); INSERT INTO t VALUES (1)');
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('each says what it is', async () => {
    const binary = (one: RawClient) =>
      one.ask(
        parse('SELECT pg_catalog.pg_is_in_recovery()'),
        bind('', { binaryResults: true }),
        describePortal(),
        execute(),
        sync,
      );
    for (const [url, standby] of [
      [fairlead.url, false],
      [readOnly, true],
    ] as const) {
      const one = await client(url);
      const on = standby ? 'on' : 'off';
      assert.equal(one.parameters.get('in_hot_standby'), on);
      assert.equal(one.parameters.get('default_transaction_read_only'), on);
      assert.equal(await one.value('SHOW transaction_read_only'), on);
      assert.equal(await one.value('SHOW default_transaction_read_only'), on);
      assert.equal(await one.value('SHOW in_hot_standby'), on);
      assert.equal(await one.value('select pg_is_in_recovery()'), standby ? 't' : 'f');
      const row = (await binary(one)).find((m) => m.type === 'D');
      assert.deepEqual(valuesOf(row?.body as Buffer), [Buffer.from([standby ? 1 : 0])]);
    }
  });

  it('the read-only port reads from replicas, sees what was written, and writes nothing', async () => {
    const writer = await client(fairlead.url);
    const one = await client(readOnly);
    const onReplica = async () => (await one.value('SELECT inet_server_port()')) === String(cluster.node('pg2').port);
    await until(onReplica, { what: 'a read on the replica' });
    await writer.query('INSERT INTO t VALUES (2)');
    const token = await writer.value('SHOW fairlead.token');
    await one.query(`SET fairlead.token = '${token}'`);
    assert.equal(await one.value('SELECT count(*) FROM t WHERE id = 2'), '1');
    for (const text of [
      'INSERT INTO t VALUES (3)',
      'CREATE TABLE u (id int)',
      "SELECT nextval('s')",
      'LISTEN x',
      'CREATE TEMP TABLE v (id int)',
    ]) {
      if (text.includes('nextval')) await writer.query('CREATE SEQUENCE s');
      if (text.includes('nextval'))
        await until(
          async () => (await cluster.node('pg2').query("SELECT FROM pg_class WHERE relname = 's'")).length === 1,
          { what: 'the sequence' },
        );
      assert.equal(sqlStateOf(await one.ask(q(text))), '25006', text);
    }
    assert.equal(sqlStateOf(await one.ask(q('BEGIN READ WRITE'))), '0A000');
    assert.equal(typesOf(await one.ask(q('SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'))), 'C Z');
    assert.equal(await one.value('SHOW transaction_read_only'), 'on');
    await one.query('BEGIN');
    assert.equal(await one.value('SELECT pg_is_in_recovery()'), 't');
    assert.equal(sqlStateOf(await one.ask(q('DELETE FROM t'))), '25006');
    assert.equal(sqlStateOf(await one.ask(q('SELECT 1'))), '25P02');
    await one.query('ROLLBACK');
    assert.equal(await one.value('SELECT count(*) FROM t'), '2');
  });

  it('without a fresh replica the primary serves it, and it still writes nothing', async () => {
    const writer = await client(fairlead.url);
    const one = await client(readOnly);
    await pause(true);
    try {
      await writer.query('INSERT INTO t VALUES (4)');
      await one.query(`SET fairlead.token = '${await writer.value('SHOW fairlead.token')}'`);
      assert.equal(await one.value('SELECT count(*) FROM t WHERE id = 4'), '1');
      assert.equal(await one.value('SELECT inet_server_port()'), String(cluster.node('pg1').port));
      assert.equal(await one.value('SHOW transaction_read_only'), 'on');
      assert.equal(await one.value('SELECT pg_catalog.pg_is_in_recovery();'), 't');
      assert.equal(await one.value('SHOW in_hot_standby'), 'on');
      for (const text of ['INSERT INTO t VALUES (5)', 'LISTEN x', "SELECT nextval('s')"])
        assert.equal(sqlStateOf(await one.ask(q(text))), '25006', text);
      assert.equal(sqlStateOf(await one.ask(q('SELECT * FROM nowhere'))), '42P01');
      assert.equal(sqlStateOf(await one.ask(parse('SELECT * FROM nowhere'), bind(), execute(), sync)), '42P01');
      await one.query('BEGIN');
      assert.equal(sqlStateOf(await one.ask(q('INSERT INTO t VALUES (5)'))), '25006');
      await one.query('ROLLBACK');
      await one.query('SET default_transaction_read_only = off');
      assert.equal(sqlStateOf(await one.ask(q('INSERT INTO t VALUES (5)'))), '25006');
      await one.query('RESET ALL');
      assert.equal(sqlStateOf(await one.ask(q('INSERT INTO t VALUES (5)'))), '25006');
      assert.deepEqual(rowsOf(await one.ask(q('SELECT 1'))), [['1']]);
    } finally {
      await pause(false);
    }
  });

  it('libpq picks the right one by target_session_attrs', { skip: needsProgram('psql') }, async () => {
    const { hostname, port, username, password, pathname } = new URL(fairlead.url);
    const other = new URL(readOnly).port;
    const pick = async (attributes: string, ports: readonly string[]) => {
      const hosts = ports.map(() => hostname).join(',');
      const target = `postgres://${username}:${password}@/${pathname.slice(1)}?host=${hosts}&port=${ports.join(',')}&target_session_attrs=${attributes}&sslmode=disable`;
      const { stdout } = await run('psql', ['-X', '-At', '-c', '\\echo :PORT', target]);
      return stdout.trim();
    };
    for (const ports of [
      [port, other],
      [other, port],
    ]) {
      assert.equal(await pick('read-write', ports), port);
      assert.equal(await pick('primary', ports), port);
      assert.equal(await pick('read-only', ports), other);
      assert.equal(await pick('standby', ports), other);
      assert.equal(await pick('prefer-standby', ports), other);
    }
    await assert.rejects(pick('read-write', [other]));
    await assert.rejects(pick('standby', [port]));
    assert.equal(await pick('prefer-standby', [port]), port);
    assert.equal(await pick('any', [other]), other);
  });
});
