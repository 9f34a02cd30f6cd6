import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { errorOf, parameterOf, q, RawClient, rowsOf, sqlStateOf, typesOf } from '../support/raw-client.ts';
import { show, untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

describe('state of a session as on a direct connection', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: RawClient[] = [];

  async function connect(parameters: Record<string, string> = {}): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url, parameters);
    clients.push(client);
    return client;
  }

  async function pinOf(client: RawClient): Promise<string | null> {
    const rows = await show(fairlead.url, 'SHOW CLIENTS');
    return rows.find((row) => row.id === String(client.pid))?.pinned ?? null;
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    const { superuser, password } = cluster;
    fairlead = await startFairlead(cluster, {
      config: { pool: { size: 2 } },
      auth: { users: { [superuser]: password, app: 'secret' } },
    });
    const pg1 = cluster.node('pg1');
    await pg1.query('CREATE TABLE drawn (id serial, who text); CREATE SEQUENCE other_seq');
    await untilServing(fairlead, 1);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.destroy();
    await untilRested(fairlead);
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  describe('settings given at the login are what RESET goes back to', () => {
    const given = {
      TimeZone: 'Asia/Tokyo',
      options: '-c work_mem=5MB -c myapp.tenant=seven',
      application_name: 'mine',
    };

    for (const [reset, names] of [
      ['RESET TimeZone', ['TimeZone']],
      ['SET TimeZone TO DEFAULT', ['TimeZone']],
      ['RESET work_mem', ['work_mem']],
      ['RESET ALL', ['TimeZone', 'work_mem', 'myapp.tenant', 'application_name']],
      ['DISCARD ALL', ['TimeZone', 'work_mem', 'myapp.tenant', 'application_name']],
    ] as const) {
      it(reset, async () => {
        const client = await connect(given);
        const values = async () => {
          const found: (string | null)[] = [];
          for (const name of names) found.push(await client.value(`SELECT current_setting('${name}', true)`));
          return found;
        };
        const before = await values();
        await client.query("SET TimeZone = 'UTC'; SET work_mem = '7MB'; SET application_name = 'yours'");
        await client.query(reset);
        assert.deepEqual(await values(), before);
      });
    }

    it('also inside a transaction', async () => {
      const client = await connect(given);
      await client.query("SET TimeZone = 'UTC'");
      await client.query('BEGIN');
      await client.query('RESET TimeZone');
      assert.equal(await client.value('SHOW TimeZone'), 'Asia/Tokyo');
      await client.query('ROLLBACK');
      assert.equal(await client.value('SHOW TimeZone'), 'UTC');
    });

    it('is told by ParameterStatus before ReadyForQuery', async () => {
      const client = await connect(given);
      await client.query("SET TimeZone = 'UTC'");
      client.send(q('RESET TimeZone'));
      const answer = await client.untilType('Z');
      const told = answer.filter((m) => m.type === 'S').map(parameterOf);
      assert.deepEqual(told.at(-1), ['TimeZone', 'Asia/Tokyo'], typesOf(answer));
    });
  });

  it('a setting that nobody can set is refused, and the session goes on', async () => {
    const client = await connect();
    assert.equal(sqlStateOf(await client.ask(q("SET server_version = '1'"))), '55P02');
    assert.equal(sqlStateOf(await client.ask(q('BEGIN; SET block_size = 1; COMMIT'))), '55P02');
    await client.query('ROLLBACK');
    assert.equal(await client.value('SELECT txid_current() > 0'), 't');
  });

  it('a client that names no application has none', async () => {
    const client = await connect();
    assert.equal(client.parameters.get('application_name'), '');
    assert.equal(await client.value('SHOW application_name'), '');
  });

  describe('sequences', () => {
    it('currval and lastval outside a transaction tell the value of the session', async () => {
      const [one, two] = [await connect(), await connect()];
      for (let round = 0; round < 5; round++) {
        const mine = await one.value("INSERT INTO drawn (who) VALUES ('one') RETURNING id");
        const others = await two.value("INSERT INTO drawn (who) VALUES ('two') RETURNING id");
        assert.notEqual(mine, others);
        assert.equal(await one.value("SELECT currval('drawn_id_seq')"), mine);
        assert.equal(await two.value('SELECT lastval()'), others);
        await one.query('DISCARD SEQUENCES');
        await two.query('DISCARD SEQUENCES');
      }
    });

    it('never another session’s, and the second time it is right where connections are short', async () => {
      // another user than in the test before: nothing is known of it
      const url = new URL(fairlead.url);
      url.username = 'app';
      url.password = 'secret';
      const pg1 = cluster.node('pg1');
      await pg1.query("CREATE ROLE app LOGIN PASSWORD 'secret'; GRANT ALL ON drawn, drawn_id_seq, other_seq TO app");
      const as = async () => {
        const client = await RawClient.connect(url.href);
        clients.push(client);
        return client;
      };
      const [a, b, c] = [await as(), await as(), await as()];
      const draw = (client: RawClient) => client.value("INSERT INTO drawn (who) VALUES ('x') RETURNING id");
      const drawn = new Map<RawClient, string | null>();
      for (const client of [a, b, c]) drawn.set(client, await draw(client));
      const told: (string | null)[] = [];
      for (const client of [a, b, c]) {
        client.send(q("SELECT currval('drawn_id_seq')"));
        const answer = await client.untilType('Z');
        told.push(sqlStateOf(answer));
        if (told.at(-1) === null) assert.equal(rowsOf(answer)[0]?.[0], drawn.get(client));
        await client.query('DISCARD SEQUENCES');
      }
      // two connections, three sessions: who has lost its own is told so
      assert.deepEqual(new Set(told.filter((state) => state !== null)), new Set(['55000']));
      const mine = await draw(a);
      assert.equal(await pinOf(a), 'sequence state');
      await b.query("SELECT nextval('other_seq')");
      assert.equal(await a.value('SELECT lastval()'), mine);
    });

    it('a session that has drawn none is told so', async () => {
      const one = await connect();
      await one.value("SELECT nextval('other_seq')");
      one.socket.destroy();
      await untilRested(fairlead);
      const two = await connect();
      two.send(q('SELECT lastval()'));
      const error = (await two.untilType('Z')).find((m) => m.type === 'E');
      assert.equal(error && errorOf(error).sqlState, '55000');
    });
  });

  describe('what pins a session ends with its last object', () => {
    for (const [name, take, reason, give] of [
      [
        'temporary table',
        ['CREATE TEMP TABLE t1 (); CREATE TEMP TABLE t2 ()', 'DROP TABLE t1'],
        'temporary table',
        'DROP TABLE t2',
      ],
      ['temporary view', ['CREATE TEMP VIEW v AS SELECT 1'], 'temporary table', 'DROP VIEW v'],
      [
        'temporary function',
        ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        'temporary table',
        'DROP FUNCTION pg_temp.f()',
      ],
      ['temporary table rolled back', ['BEGIN', 'CREATE TEMP TABLE t1 ()'], 'temporary table', 'ROLLBACK'],
      ['advisory lock', ['SELECT pg_advisory_lock(7)'], 'session advisory lock', 'SELECT pg_advisory_unlock(7)'],
      [
        'advisory lock taken twice',
        ['SELECT pg_advisory_lock(7)', 'SELECT pg_advisory_lock(7)', 'SELECT pg_advisory_unlock(7)'],
        'session advisory lock',
        'SELECT pg_advisory_unlock(7)',
      ],
      ['PREPARE', ['PREPARE p AS SELECT 1', 'PREPARE p2 AS SELECT 1', 'DEALLOCATE p2'], 'sql prepare', 'DEALLOCATE p'],
      ['cursor', ['BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT'], 'cursor with hold', 'CLOSE held'],
    ] as const) {
      it(name, async () => {
        const client = await connect();
        for (const text of take) await client.query(text);
        assert.equal(await pinOf(client), reason);
        await client.query(give);
        await until(async () => (await pinOf(client)) === null, { what: 'the session to be free' });
      });
    }

    it('a temporary table that was committed before an error still pins', async () => {
      const client = await connect();
      assert.equal(sqlStateOf(await client.ask(q('CREATE TEMP TABLE t1 (); COMMIT; SELECT 1/0'))), '22012');
      assert.equal(await pinOf(client), 'temporary table');
      assert.equal(sqlStateOf(await client.ask(q('DROP TABLE t1; SELECT 1/0'))), '22012');
      assert.equal(await client.value('SELECT count(*) FROM t1'), '0');
    });
  });

  it('a new session sees what was committed before it connected', async () => {
    const replica = cluster.node('pg2');
    await replica.query('SELECT pg_wal_replay_pause()');
    try {
      const writer = await connect();
      await writer.query("INSERT INTO drawn (who) VALUES ('before the connection')");
      const reader = await connect();
      assert.equal(await reader.value("SELECT count(*) FROM drawn WHERE who = 'before the connection'"), '1');
    } finally {
      await replica.query('SELECT pg_wal_replay_resume()');
    }
  });
});
