import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection, closeAll } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { until } from '../support/wait.ts';

type Port = { port: number };
type Route = { node: string; class: string; reason: string };

describe('on one connection reads go to a replica and writes to the primary', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let connection: Connection;

  before(async () => {
    cluster = await startTestCluster();
    // a read here may wait as long as it needs: where it runs is what is tested, not how soon
    fairlead = await startFairlead(cluster, { config: { routing: { freshness_wait: '10s' } } });
    connection = await Connection.open(fairlead.url);
    await connection.rows('CREATE TABLE notes (id int PRIMARY KEY, text text)');
    const both = () => fairlead.app.cluster.topology.value.replicas.length === 2;
    await until(both, { what: 'two replicas that serve reads' });
    // what the catalog says of functions is read at the first statement
    await until(async () => isReplica(await readPort()), { what: 'a read on a replica' });
  });
  after(async () => {
    await connection?.close();
    await fairlead?.stop();
    await cluster?.stop();
  });

  const primaryPort = () => cluster.node('pg1').port;
  const onReplicas = (text: string) => Promise.all(['pg2', 'pg3'].map((name) => cluster.node(name).query(text)));
  const isReplica = (port: number) => port === cluster.node('pg2').port || port === cluster.node('pg3').port;
  const route = (from = connection) => from.row<Route>('SHOW fairlead.route');
  async function readPort(text = 'SELECT inet_server_port() AS port', from = connection): Promise<number> {
    return (await from.row<Port>(text)).port;
  }
  async function writePort(id: number, values?: unknown[], name?: string): Promise<number> {
    const text = `INSERT INTO notes VALUES (${values === undefined ? id : '$1'}, 'a') RETURNING inet_server_port() AS port`;
    return (await connection.row<Port>(text, values, name)).port;
  }

  it('in the simple protocol, the extended one, and with prepared statements', async () => {
    const text = 'SELECT inet_server_port() AS port';
    for (let n = 0; n < 5; n++) {
      assert.ok(isReplica(await readPort()));
      assert.equal(await writePort(n), primaryPort());
      assert.ok(isReplica((await connection.row<Port>(text, [])).port));
      assert.equal(await writePort(0, [n + 100]), primaryPort());
      assert.ok(isReplica((await connection.row<Port>(text, [], 'port')).port));
      assert.equal(await writePort(0, [n + 200], 'insert'), primaryPort());
    }
    assert.equal((await connection.row<{ n: number }>('SELECT count(*)::int AS n FROM notes')).n, 15);
  });

  it('says where and why', async () => {
    await readPort();
    const read = await route();
    assert.match(read.node, /^pg[23]$/);
    assert.equal(read.class, 'read');
    assert.match(read.reason, /^(fresh replica|fresh tables|caught up)$/);
    await writePort(300);
    const written = await route();
    assert.equal(written.node, 'pg1');
    assert.equal(written.class, 'write');
    assert.match(written.reason, /^write/);
  });

  it('sends what looks like a read but writes or locks to the primary', async () => {
    await connection.rows('CREATE SEQUENCE tickets');
    for (const text of [
      'SELECT inet_server_port() AS port FROM notes WHERE id = 1 FOR UPDATE',
      'SELECT inet_server_port() AS port FROM nextval($$tickets$$)',
      'WITH gone AS (DELETE FROM notes WHERE id = 300 RETURNING id) SELECT inet_server_port() AS port FROM gone',
      'SELECT inet_server_port() AS port FROM pg_advisory_xact_lock(1)',
    ]) {
      assert.equal(await readPort(text), primaryPort(), text);
    }
  });

  it('keeps a transaction on the primary, and a READ ONLY one on one replica', async () => {
    await connection.rows('BEGIN');
    assert.equal(await readPort(), primaryPort());
    assert.equal(await writePort(400), primaryPort());
    assert.equal(await readPort(), primaryPort());
    await connection.rows('COMMIT');

    await connection.rows('BEGIN READ ONLY');
    const ports = new Set<number>();
    for (let n = 0; n < 6; n++) ports.add(await readPort());
    assert.equal((await connection.rows('SELECT 1 FROM notes WHERE id = 400')).length, 1, 'it sees what came before');
    await assert.rejects(connection.rows("INSERT INTO notes VALUES (401, 'b')"), { code: '25006' });
    await connection.rows('ROLLBACK');
    assert.equal(ports.size, 1);
    assert.ok(isReplica([...ports][0] as number));
    assert.equal(await writePort(402), primaryPort(), 'writes go on after it');
  });

  it('obeys hints of one statement', async () => {
    assert.equal(await readPort('/* fairlead: primary */ SELECT inet_server_port() AS port'), primaryPort());
    assert.equal((await route()).reason, 'hint primary');
    assert.ok(isReplica(await readPort('/* fairlead: replica */ SELECT inet_server_port() AS port')));
    assert.equal((await route()).reason, 'hint replica');
    const recent = '/* fairlead: max_staleness=5s */ SELECT inet_server_port() AS port';
    await until(async () => isReplica(await readPort(recent)), { what: 'a read on a replica that is recent enough' });
    assert.ok(isReplica(await readPort()), 'and only of that one');
  });

  it('obeys settings of the session, the transaction and the startup packet', async () => {
    await connection.rows("SET fairlead.consistency = 'primary'");
    assert.equal((await connection.row('SHOW fairlead.consistency'))['fairlead.consistency'], 'primary');
    assert.equal(await readPort(), primaryPort());
    assert.equal((await route()).reason, 'consistency primary');
    await connection.rows('RESET fairlead.consistency');
    assert.ok(isReplica(await readPort()));
    for (const consistency of ['eventual', 'session', 'strong']) {
      await connection.rows(`SET fairlead.consistency = '${consistency}'`);
      assert.ok(isReplica(await readPort()), consistency);
    }
    await connection.rows('BEGIN READ ONLY');
    await connection.rows("SET LOCAL fairlead.consistency = 'primary'");
    await connection.rows('COMMIT');
    assert.equal((await connection.row('SHOW fairlead.consistency'))['fairlead.consistency'], 'strong');
    await connection.rows('RESET fairlead.consistency');
    await connection.rows("SET fairlead.max_staleness = '500ms'");
    await until(async () => isReplica(await readPort()), { what: 'a read on a replica that is recent enough' });
    await connection.rows('RESET fairlead.max_staleness');
    await assert.rejects(connection.rows("SET fairlead.consistency = 'hopeful'"), { code: '22023' });

    const other = await Connection.open(fairlead.url, { options: '-c fairlead.consistency=primary' });
    try {
      assert.equal(await readPort(undefined, other), primaryPort());
    } finally {
      await other.close();
    }
  });

  it('carries what one connection wrote to another with a token', async () => {
    const reader = await Connection.open(fairlead.url);
    try {
      // no replica gets further: only the token can tell that they are behind
      await onReplicas('SELECT pg_wal_replay_pause()');
      await connection.rows("INSERT INTO notes VALUES (500, 'token')");
      const token = (await connection.row<Record<string, string>>('SHOW fairlead.token'))['fairlead.token'] as string;
      assert.match(token, /^1:[0-9A-F]+\/[0-9A-F]+$/);
      assert.equal((await reader.rows('SELECT 1 FROM notes WHERE id = 500')).length, 0, 'without it: the past');
      await reader.rows(`SET fairlead.token = '${token}'`);
      const waiting = reader.row<Port>('SELECT inet_server_port() AS port FROM notes WHERE id = 500');
      await until(() => fairlead.app.cluster.waiters.size > 0, { what: 'a read that waits for its position' });
      await onReplicas('SELECT pg_wal_replay_resume()');
      assert.ok(isReplica((await waiting).port));
      assert.equal((await route(reader)).reason, 'caught up');
      await assert.rejects(reader.rows("SET fairlead.token = 'yesterday'"), { code: '22023' });
    } finally {
      await closeAll([reader]);
    }
  });
});
