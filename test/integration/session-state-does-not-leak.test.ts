import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { errorOf, q, RawClient, terminate, typesOf } from '../support/raw-client.ts';
import { show, untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** On the primary because it writes, on a replica because it reads. */
const ON_PRIMARY = '/* fairlead: primary */';
const ON_REPLICA = '/* fairlead: replica */';

describe('state of a session', () => {
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

  /** What a setting is on the primary and on the replica, and the node that said so. */
  async function both(client: RawClient, name: string): Promise<[string | null, string | null]> {
    const of = (hint: string) =>
      until(
        async () => {
          const value = await client.value(`${hint} SELECT current_setting('${name}', true)`);
          const [node] = (await client.query('SHOW fairlead.route'))[0] as string[];
          // a replica that is not fresh enough at the moment is not asked
          return node === (hint === ON_PRIMARY ? 'pg1' : 'pg2') && { value: value === '' ? null : value };
        },
        { what: `${name} from the other node` },
      );
    return [(await of(ON_PRIMARY)).value, (await of(ON_REPLICA)).value];
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    const { superuser, password } = cluster;
    fairlead = await startFairlead(cluster, {
      config: { pool: { size: 1 } },
      auth: { users: { [superuser]: password, app: 'secret' } },
    });
    const pg1 = cluster.node('pg1');
    await pg1.query("CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE reader; GRANT reader TO app");
    await pg1.query('CREATE SCHEMA other; CREATE TABLE things (id int); GRANT ALL ON SCHEMA public, other TO PUBLIC');
    await pg1.query(`CREATE FUNCTION sets_path(text) RETURNS text LANGUAGE plpgsql AS
      $$ BEGIN RETURN set_config('search_path', $1, false); END $$`);
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

  describe('settings', () => {
    const ways: readonly (readonly [string, string, string])[] = [
      // what is said, which setting it changes, to what
      ["SET search_path = 'other'", 'search_path', 'other'],
      ["SET SESSION statement_timeout = '7s'", 'statement_timeout', '7s'],
      ["SELECT set_config('work_mem', '5MB', false)", 'work_mem', '5MB'],
      ["SET myapp.tenant = 'seven'", 'myapp.tenant', 'seven'],
      ["SELECT set_config('myapp.Tenant', 'Eight', false)", 'myapp.tenant', 'Eight'],
      ["SET DateStyle = 'German'", 'DateStyle', 'German, DMY'],
      ["SET application_name = 'it''s \\ mine'", 'application_name', "it's \\ mine"],
      ['SET ROLE reader', 'role', 'reader'],
      ["SET TIME ZONE 'Asia/Tokyo'", 'TimeZone', 'Asia/Tokyo'],
      ['SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE', 'default_transaction_deferrable', 'on'],
      ["SELECT sets_path('other')", 'search_path', 'other'],
      ["DO $$ BEGIN PERFORM set_config('work_mem', '6MB', false); END $$", 'work_mem', '6MB'],
      ["BEGIN; SET work_mem = '8MB'; COMMIT", 'work_mem', '8MB'],
      ["SET work_mem = '8MB'; SET myapp.two = '2'", 'myapp.two', '2'],
    ];
    for (const [text, name, value] of ways) {
      it(`${text}: on every node for the session, for nobody else`, async () => {
        const [mine, other] = await Promise.all([connect(), connect()]);
        const [before] = await both(other, name);
        await mine.query(text);
        assert.equal(await pinOf(mine), null);
        for (let round = 0; round < 2; round++) {
          assert.deepEqual(await both(mine, name), [value, value]);
          assert.deepEqual(await both(other, name), [before, before]);
        }
        await mine.end();
        assert.deepEqual(await both(await connect(), name), [before, before]);
      });
    }

    it('of a transaction end with it; what is rolled back never was', async () => {
      const [mine, other] = await Promise.all([connect(), connect()]);
      const [standard] = await both(other, 'work_mem');
      for (const text of [
        "BEGIN; SET LOCAL work_mem = '9MB'; COMMIT",
        "BEGIN; SET work_mem = '9MB'; ROLLBACK",
        "BEGIN; SAVEPOINT s; SET work_mem = '9MB'; ROLLBACK TO SAVEPOINT s; COMMIT",
        "BEGIN; SELECT set_config('work_mem', '9MB', true); COMMIT",
        "SET LOCAL work_mem = '9MB'",
      ]) {
        for (const statement of text.split('; ')) await mine.query(statement);
        assert.deepEqual(await both(mine, 'work_mem'), [standard, standard], text);
        assert.deepEqual(await both(other, 'work_mem'), [standard, standard], text);
      }
      await mine.query('BEGIN');
      await mine.query("SET LOCAL work_mem = '9MB'");
      assert.equal(await mine.value('SHOW work_mem'), '9MB');
      await mine.query('COMMIT');
      await mine.query("SET work_mem = '10MB'");
      await mine.query("BEGIN; SET work_mem = '11MB'");
      await mine.query('ROLLBACK');
      assert.deepEqual(await both(mine, 'work_mem'), ['10MB', '10MB']);
    });

    it('go with RESET, RESET ALL and DISCARD ALL', async () => {
      const [mine, other] = await Promise.all([connect(), connect()]);
      const [standard] = await both(other, 'work_mem');
      for (const reset of ['RESET work_mem', 'RESET ALL', 'DISCARD ALL', 'SET work_mem TO DEFAULT']) {
        await mine.query("SET work_mem = '9MB'");
        assert.deepEqual(await both(mine, 'work_mem'), ['9MB', '9MB']);
        await mine.query(reset);
        assert.deepEqual(await both(mine, 'work_mem'), [standard, standard], reset);
      }
    });

    it('of the start hold everywhere, are what RESET falls back to, and stay with their session', async () => {
      const options = '-c work_mem=12MB -c myapp.start=begun --search_path=other';
      const mine = await connect({ options, application_name: 'started so' });
      const other = await connect();
      const expected = {
        work_mem: '12MB',
        'myapp.start': 'begun',
        search_path: 'other',
        application_name: 'started so',
      };
      const hold = async () => {
        for (const [name, value] of Object.entries(expected)) assert.deepEqual(await both(mine, name), [value, value]);
        for (const [name, value] of Object.entries(expected)) {
          const theirs = await both(other, name);
          assert.ok(!theirs.includes(value), `${name} is ${theirs}`);
        }
      };
      await hold();
      await mine.query("SET work_mem = '9MB'");
      assert.deepEqual(await both(mine, 'work_mem'), ['9MB', '9MB']);
      await mine.query('RESET work_mem');
      await hold();
      await mine.query("SET myapp.start = 'changed'");
      assert.deepEqual(await both(other, 'myapp.start'), [null, null]);
      await mine.query('RESET ALL');
      await hold();
      await mine.query("SET statement_timeout = '7s'");
      assert.deepEqual(await both(other, 'myapp.start'), [null, null]);
      await mine.end();
      assert.deepEqual(await both(other, 'myapp.start'), [null, null]);
    });

    it('refuse a session that starts with one that does not exist', async () => {
      await assert.rejects(RawClient.connect(fairlead.url, { options: '-c no_such_setting=1' }), { code: '22023' });
      await assert.rejects(RawClient.connect(fairlead.url, { options: '-x' }), { code: '22023' });
    });

    it('of a session that leaves at once stay with it', async () => {
      for (let i = 0; i < 20; i++) {
        const gone = await connect();
        gone.send(q("SET application_name = 'gone'"));
        if (i % 2 === 0) gone.vanish();
        else gone.socket.end(terminate);
        const next = await connect();
        const [primary, replica] = await both(next, 'application_name');
        assert.notEqual(primary, 'gone');
        assert.notEqual(replica, 'gone');
        await next.end();
      }
    });

    it("take the role's privileges with them, not the next session's", async () => {
      const url = new URL(fairlead.url);
      url.username = 'app';
      url.password = 'secret';
      const mine = await RawClient.connect(url.href);
      const other = await RawClient.connect(url.href);
      clients.push(mine, other);
      await mine.query('SET ROLE reader');
      for (let i = 0; i < 3; i++) {
        assert.equal(await mine.value(`${ON_PRIMARY} SELECT current_user`), 'reader');
        assert.equal(await other.value(`${ON_PRIMARY} SELECT current_user`), 'app');
        assert.equal(await mine.value(`${ON_REPLICA} SELECT current_user`), 'reader');
        assert.equal(await other.value(`${ON_REPLICA} SELECT current_user`), 'app');
      }
      await mine.query('RESET ROLE');
      assert.equal(await mine.value(`${ON_PRIMARY} SELECT current_user`), 'app');
    });
  });

  describe('what lives in a server connection', () => {
    it('a temporary table pins the session, works, and is gone after it', async () => {
      const mine = await connect();
      await mine.query('CREATE TEMP TABLE scratch (id int)');
      assert.equal(await pinOf(mine), 'temporary table');
      await mine.query('INSERT INTO scratch SELECT generate_series(1, 3)');
      assert.equal(await mine.value('SELECT count(*) FROM scratch'), '3');
      await mine.end();
      await nothingLeft("SELECT FROM pg_class WHERE relname = 'scratch'");
      const other = await connect();
      assert.equal(await other.value("SELECT to_regclass('scratch')"), null);
    });

    it('a session advisory lock pins, excludes others, and is gone after it', async () => {
      const mine = await connect();
      await mine.query('SELECT pg_advisory_lock(42)');
      assert.equal(await pinOf(mine), 'session advisory lock');
      const [row] = await cluster.node('pg1').query<{ got: boolean }>('SELECT pg_try_advisory_lock(42) AS got');
      assert.equal(row?.got, false);
      mine.vanish();
      await nothingLeft("SELECT FROM pg_locks WHERE locktype = 'advisory'");
    });

    it('an advisory lock of a transaction does not pin', async () => {
      const mine = await connect();
      await mine.query('BEGIN; SELECT pg_advisory_xact_lock(43); COMMIT');
      assert.equal(await pinOf(mine), null);
      await nothingLeft("SELECT FROM pg_locks WHERE locktype = 'advisory'");
    });

    it('LISTEN does not pin, hears while idle, and ends with UNLISTEN', async () => {
      const mine = await connect();
      await mine.query('LISTEN news');
      assert.equal(await pinOf(mine), null);
      await cluster.node('pg1').query("NOTIFY news, 'from elsewhere'");
      const [message] = await mine.untilType('A');
      assert.match(message?.body.toString('latin1', 4) ?? '', /^news\0from elsewhere\0$/);
      assert.equal(typesOf(await mine.ask(q("NOTIFY news, 'own'"))), 'C A Z');
      await mine.query('UNLISTEN *');
      assert.equal(typesOf(await mine.ask(q("NOTIFY news, 'own'"))), 'C Z');
    });

    it('PREPARE and EXECUTE pin and work, among sessions with the same name', async () => {
      const mine = await connect();
      await mine.query('PREPARE same AS SELECT 1');
      assert.equal(await pinOf(mine), 'sql prepare');
      assert.equal(await mine.value('EXECUTE same'), '1');
      await mine.query('DEALLOCATE same');
      await mine.end();
      const other = await connect();
      await assert.rejects(other.query('EXECUTE same'), { code: '26000' });
      await other.query('PREPARE same AS SELECT 2');
      assert.equal(await other.value('EXECUTE same'), '2');
    });

    it('a cursor WITH HOLD pins and outlives its transaction', async () => {
      const mine = await connect();
      await mine.query('BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10); COMMIT');
      assert.equal(await pinOf(mine), 'cursor with hold');
      assert.equal((await mine.query('FETCH 4 FROM held')).length, 4);
      assert.equal((await mine.query('FETCH ALL FROM held')).length, 6);
      await mine.end();
      const other = await connect();
      await assert.rejects(other.query('FETCH ALL FROM held'), { code: '34000' });
    });

    it('DISCARD ALL ends every pin', async () => {
      const mine = await connect();
      await mine.query('CREATE TEMP TABLE scratch (id int)');
      await mine.query('SELECT pg_advisory_lock(44)');
      await mine.query('DISCARD ALL');
      assert.equal(await pinOf(mine), null);
      await nothingLeft("SELECT FROM pg_locks WHERE locktype = 'advisory'");
      const other = await connect();
      assert.equal(await other.value(`${ON_PRIMARY} SELECT 5`), '5');
    });

    it('a pinned session whose server connection dies is told, once, with a FATAL error', async () => {
      const mine = await connect();
      await mine.query('CREATE TEMP TABLE scratch (id int)');
      const pid = await mine.value(`${ON_PRIMARY} SELECT pg_backend_pid()`);
      await cluster.node('pg1').query('SELECT pg_terminate_backend($1)', [pid]);
      const [error] = await mine.untilType('E');
      assert.equal(error && errorOf(error).sqlState, '57P01');
      await until(() => mine.ended, { what: 'the end of the session' });
    });
  });

  /** On the primary, from outside. */
  async function nothingLeft(query: string): Promise<void> {
    await until(async () => (await cluster.node('pg1').query(query)).length === 0, { what: `nothing from ${query}` });
  }
});
