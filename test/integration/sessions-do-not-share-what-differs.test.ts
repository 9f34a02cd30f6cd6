/** Server connections are shared by sessions, prepared statements too: nothing of one session may show in another. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { bind, execute, flush, parse, q, RawClient, rowsOf, sqlStateOf, sync } from '../support/raw-client.ts';
import { show, untilRested, untilServing } from '../support/serving.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

describe('sessions do not share what differs', () => {
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

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    // one server connection per node and user: everybody shares it
    fairlead = await startFairlead(cluster, { config: { pool: { size: 1 } } });
    await untilServing(fairlead, 1);
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('reads the literals of a shared text under each session’s own settings', async () => {
    const utc = await connect();
    const newYork = await connect();
    await utc.query("SET timezone = 'UTC'");
    await newYork.query("SET timezone = 'America/New_York'");
    const query = { name: 'tz', text: "SELECT extract(epoch FROM timestamptz '2024-01-01 00:00')::int8 AS at" };
    for (let i = 0; i < 3; i++) {
      assert.equal((await utc.query(query)).rows[0].at, '1704067200');
      assert.equal((await newYork.query(query)).rows[0].at, '1704085200');
    }
  });

  it('lets SET win over what the client asked for at its start, and RESET bring that back', async () => {
    const client = new pg.Client({ connectionString: fairlead.url, options: '-c TimeZone=Asia/Tokyo' });
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    const zone = async () => (await client.query("SELECT current_setting('TimeZone') AS tz")).rows[0].tz;
    assert.equal(await zone(), 'Asia/Tokyo');
    await client.query("SET TimeZone = 'Europe/Paris'");
    const other = await connect();
    await other.query('SELECT 1');
    assert.equal(await zone(), 'Europe/Paris');
    await client.query('RESET TimeZone');
    assert.equal(await zone(), 'Asia/Tokyo');
  });

  it('prepares again after DDL, for those who prepared before and for those who come', async () => {
    const first = await connect();
    await first.query('CREATE TABLE plans (a int)');
    await first.query('INSERT INTO plans VALUES (1)');
    const query = { name: 'plan', text: 'SELECT * FROM plans' };
    assert.deepEqual((await first.query(query)).rows, [{ a: 1 }]);
    await first.query('ALTER TABLE plans ADD b int DEFAULT 2');
    for (let i = 0; i < 3; i++) {
      const other = await connect();
      assert.deepEqual((await other.query(query)).rows, [{ a: 1, b: 2 }]);
    }
    const write = { name: 'write', text: 'INSERT INTO plans (a) VALUES (9) RETURNING *' };
    assert.deepEqual((await first.query(write)).rows, [{ a: 9, b: 2 }]);
    await first.query('ALTER TABLE plans ADD c int');
    const other = await connect();
    assert.deepEqual((await other.query(write)).rows, [{ a: 9, b: 2, c: null }]);
  });

  it('does not believe in a DEALLOCATE ALL that was prepared and never run', async () => {
    const one = await connect();
    const other = await connect();
    const query = { name: 'kept', text: 'SELECT 1 AS one' };
    await one.query(query);
    // two statements: the second is parsed, bound and run; the first only ever parsed
    await one.query({ name: 'all', text: 'DEALLOCATE ALL' });
    for (let i = 0; i < 3; i++) assert.equal((await other.query(query)).rows[0].one, 1);
    await assert.rejects(one.query('DEALLOCATE fairlead_1'), { code: '0A000' });
  });

  it('keeps an advisory lock that was taken in a request that failed', async () => {
    const holder = await connect();
    await assert.rejects(holder.query('SELECT pg_advisory_lock(4242); SELECT 1/0'), { code: '22012' });
    await holder.query('SELECT 1');
    assert.match((await holder.query('SHOW fairlead.route')).rows[0].reason, /pinned/);
    await holder.end();
    const other = await connect();
    const { rows } = await other.query('SELECT pg_try_advisory_lock(4242) AS free');
    assert.equal(rows[0].free, true, 'the lock went with its session');
    await other.query('SELECT pg_advisory_unlock_all()');
  });

  it('shows which client holds a server connection', async () => {
    const client = await connect();
    await client.query('BEGIN');
    const { processID } = client as unknown as { processID: number };
    const links = (await show(fairlead.url, 'SHOW SERVERS')).map((row) => row.link);
    assert.ok(links.includes(`client ${processID}`), JSON.stringify(links));
    await client.query('ROLLBACK');
  });

  it('refuses what cannot be where it was asked for', async () => {
    const client = await connect();
    await assert.rejects(client.query("SET fairlead.consistency = 'primary'; SELECT 1"), { code: '0A000' });
    await client.query('BEGIN READ ONLY');
    await client.query('SELECT 1');
    await assert.rejects(client.query('PREPARE p AS SELECT 1'), { code: '0A000' });
    await client.query('ROLLBACK');
    await client.query('CREATE TABLE afterwards (a int)');
    await client.query('BEGIN READ ONLY');
    await client.query('PREPARE p AS SELECT pg_is_in_recovery() AS replica');
    const { rows } = await client.query('EXECUTE p');
    assert.equal(rows[0].replica, false, 'a transaction that has read nothing yet moves');
    await client.query('COMMIT');
  });

  it('is not troubled by logins to a database that does not exist', async () => {
    for (let i = 0; i < 4; i++) {
      const lost = new pg.Client(fairlead.url.replace(/\/postgres$/, '/no_such_database'));
      lost.on('error', () => {});
      await assert.rejects(lost.connect(), { code: '3D000' });
    }
    const client = await connect();
    const onReplica = async () => (await client.query('SELECT pg_is_in_recovery() AS replica')).rows[0].replica;
    await until(onReplica, { what: 'a read on the replica' });
  });

  describe('what statements do beside what they say', () => {
    const ON_PRIMARY = '/* fairlead: primary */';
    const raw: RawClient[] = [];

    async function connect(parameters: Record<string, string> = {}): Promise<RawClient> {
      const client = await RawClient.connect(fairlead.url, parameters);
      raw.push(client);
      return client;
    }

    async function pinOf(client: RawClient): Promise<string | null> {
      // the server is asked before the next statement runs
      await client.query('SELECT 1');
      const rows = await show(fairlead.url, 'SHOW CLIENTS');
      return rows.find((row) => row.id === String(client.pid))?.pinned ?? null;
    }

    before(async () => {
      await cluster.node('pg1').query('CREATE SCHEMA other; CREATE TABLE public.things (id int)');
      // nobody else may keep the one connection there is
      for (const client of clients.splice(0)) await client.end();
    });
    afterEach(async () => {
      for (const client of raw.splice(0)) client.socket.destroy();
      await untilRested(fairlead);
    });

    const DEFAULT_PATH = '"$user", public';
    const path = (client: RawClient) => client.value(`${ON_PRIMARY} SHOW search_path`);

    it('EXECUTE changes settings for its session only', async () => {
      const [mine, other] = await Promise.all([connect(), connect()]);
      await mine.query("PREPARE p AS SELECT set_config('search_path', 'other', false)");
      await mine.query('EXECUTE p');
      await mine.query('DEALLOCATE p');
      assert.equal(await pinOf(mine), null);
      assert.equal(await path(other), DEFAULT_PATH);
      assert.equal(await path(mine), 'other');
    });

    const hidden: readonly (readonly [string, string, string])[] = [
      ['PREPARE p AS SELECT pg_advisory_lock(77)', 'EXECUTE p', 'DEALLOCATE p'],
      ['SELECT 1', 'CREATE TEMP TABLE made (a int); SELECT pg_advisory_lock(78)', 'DROP TABLE made'],
      ['SELECT 1', 'CREATE TEMP TABLE made AS SELECT pg_advisory_lock(79)::text', 'SELECT pg_advisory_unlock(79)'],
      ['CREATE TEMP TABLE made (a int)', 'SELECT 1', 'DROP TABLE nobody_made'],
    ];
    for (const [first, then, last] of hidden) {
      it(`${first}; ${then}; ${last}: something still pins`, async () => {
        const mine = await connect();
        await mine.query(first);
        await mine.query(then);
        await mine.query(last).catch(() => {});
        assert.notEqual(await pinOf(mine), null);
      });
    }

    /** Asks again as long as the session's own millisecond was too short, as it may be on a busy machine. */
    async function inTime<T>(ask: () => Promise<T>): Promise<T> {
      for (;;) {
        try {
          return await ask();
        } catch (error) {
          if ((error as { code?: string }).code !== '57014') throw error;
        }
      }
    }

    it('a statement_timeout shorter than our own questions is the session’s, and ends nobody', async () => {
      const [mine, other] = await Promise.all([connect(), connect()]);
      for (let i = 0; i < 10; i++) {
        await inTime(() => mine.query("DO $$ BEGIN PERFORM set_config('statement_timeout', '1ms', false); END $$"));
        assert.equal(await other.value(`${ON_PRIMARY} SHOW statement_timeout`), '0');
      }
      assert.equal(await inTime(() => mine.value(`${ON_PRIMARY} SHOW statement_timeout`)), '1ms');
    });

    it('what is bound and not executed has not happened', async () => {
      const [mine, other] = await Promise.all([connect(), connect()]);
      await mine.query("SET search_path = 'other'");
      await mine.ask(parse('RESET ALL'), bind(), sync);
      assert.equal(await path(other), DEFAULT_PATH);
      assert.equal(await path(mine), 'other');
      await mine.query('CREATE TEMP TABLE made (a int)');
      await mine.ask(parse('DISCARD ALL'), bind(), sync);
      assert.equal(await pinOf(mine), 'temporary table');
    });

    it('a RESET before a Flush falls back to the start, too', async () => {
      const [mine, other] = await Promise.all([connect({ search_path: 'other' }), connect({ search_path: 'other' })]);
      mine.send(parse('RESET ALL'), bind(), execute(), flush);
      await mine.untilType('C');
      await mine.ask(sync);
      assert.equal(await path(mine), 'other');
      assert.equal(await path(other), 'other');
    });

    it('a RESET in a transaction on a replica brings nothing of it to the primary', async () => {
      const mine = await connect();
      await mine.query('BEGIN READ ONLY');
      await mine.query('RESET default_transaction_read_only');
      await mine.query('COMMIT');
      await mine.query('INSERT INTO public.things VALUES (1)');
    });

    const zones: readonly (readonly [string, (client: RawClient, text: string) => Promise<unknown>])[] = [
      [
        'SET LOCAL',
        async (client, text) => {
          await client.query("BEGIN; SET LOCAL timezone = 'Asia/Tokyo'");
          await client.ask(parse(text, 's'), sync);
          await client.query('COMMIT');
        },
      ],
      [
        'SET in the same batch',
        (client, text) =>
          client.ask(parse("SET timezone = 'Asia/Tokyo'"), bind(), execute(), parse(text, 's'), bind('s'), sync),
      ],
      [
        'SET before a Flush',
        async (client, text) => {
          client.send(parse("SET timezone = 'Asia/Tokyo'"), bind(), execute(), flush);
          await client.untilType('C');
          await client.ask(parse(text, 's'), sync);
        },
      ],
    ];
    for (const [i, [way, prepare]] of zones.entries()) {
      it(`a literal read under a ${way} is not another session's`, async () => {
        const [mine, other] = await Promise.all([connect(), connect()]);
        for (const client of [mine, other]) await client.query("SET timezone = 'UTC'");
        const text = `${ON_PRIMARY} SELECT extract(epoch FROM timestamptz '1970-01-01 00:00')::int, ${i}`;
        await other.ask(parse(text, 's'), sync);
        await prepare(mine, text);
        assert.deepEqual(rowsOf(await other.ask(bind('s'), execute(), sync)), [['0', String(i)]]);
      });
    }

    it('values of sequences are told to nobody else, behind a Flush neither, nor what a trigger drew', async () => {
      const pg1 = cluster.node('pg1');
      await pg1.query(
        'CREATE TABLE drawn (id serial, v int); CREATE TABLE updated (v int); INSERT INTO updated VALUES (1)',
      );
      await pg1.query(`CREATE FUNCTION draw() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.drawn (v) VALUES (0); RETURN NEW; END $$`);
      await pg1.query('CREATE TRIGGER draws AFTER UPDATE ON updated FOR EACH ROW EXECUTE FUNCTION draw()');
      const [mine, other, third] = await Promise.all([connect(), connect(), connect()]);
      await other.query('INSERT INTO drawn (v) VALUES (1)');
      mine.send(parse(`${ON_PRIMARY} SELECT 1`), bind(), execute(), flush);
      await mine.untilType('C');
      assert.equal(sqlStateOf(await mine.ask(parse('SELECT lastval()'), bind(), execute(), sync)), '55000');
      await mine.end();
      await other.query('INSERT INTO drawn (v) VALUES (1)');
      await third.query('UPDATE updated SET v = 2');
      assert.equal(sqlStateOf(await other.ask(q('SELECT lastval()'))), '55000');
    });
  });
});
