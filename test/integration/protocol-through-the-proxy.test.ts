import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import {
  bind,
  closePortal,
  closeStatement,
  copyData,
  copyDone,
  copyFail,
  describePortal,
  describeStatement,
  execute,
  flush,
  type Message,
  parameterOf,
  parse,
  q,
  RawClient,
  rowsOf,
  sqlStateOf,
  sync,
  typesOf,
  valuesOf,
} from '../support/raw-client.ts';
import { showPools, untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const INT4 = 23;

describe('the protocol through the proxy', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: RawClient[] = [];

  async function connect(parameters: Record<string, string> = {}): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url, parameters);
    clients.push(client);
    return client;
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 2 } } });
    await untilServing(fairlead, 1);
    await cluster
      .node('pg1')
      .query('CREATE TABLE things (id int PRIMARY KEY, name text); CREATE TABLE copied (id int)');
    await cluster.node('pg1').query("INSERT INTO things SELECT i, 'thing ' || i FROM generate_series(1, 100) i");
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.destroy();
    await untilRested(fairlead);
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  describe('simple queries', () => {
    it('answers one, several and none', async () => {
      const client = await connect();
      assert.equal(typesOf(await client.ask(q('SELECT 1'))), 'T D C Z');
      assert.equal(typesOf(await client.ask(q('SELECT 1; SELECT 2, 3; SELECT 4 WHERE false'))), 'T D C T D C T C Z');
      assert.equal(typesOf(await client.ask(q(''))), 'I Z');
      assert.equal(typesOf(await client.ask(q(' ; ; '))), 'I Z');
      assert.equal(typesOf(await client.ask(q('-- nothing'))), 'I Z');
    });

    it('stops several at the first error and undoes them', async () => {
      const client = await connect();
      const answer = await client.ask(q('INSERT INTO things VALUES (1000); SELECT 1/0; SELECT 2'));
      assert.equal(typesOf(answer), 'C E Z');
      assert.equal(sqlStateOf(answer), '22012');
      assert.equal(await client.value('SELECT count(*) FROM things WHERE id = 1000'), '0');
    });

    it('answers queries that were sent at once, in order', async () => {
      const client = await connect();
      client.send(...Array.from({ length: 200 }, (_, i) => q(i % 7 === 3 ? `SELECT ${i} / 0` : `SELECT ${i}`)));
      const answer = await client.untilReady(200);
      const failed = Array.from({ length: 200 }, (_, i) => i).filter((i) => i % 7 === 3).length;
      assert.equal(answer.filter((m) => m.type === 'E').length, failed);
      const values = rowsOf(answer).map((row) => Number(row[0]));
      assert.deepEqual(
        values,
        [...values].sort((a, b) => a - b),
      );
      assert.equal(values.length, 200 - failed);
    });

    it('passes notices on, and parameters that changed', async () => {
      const client = await connect();
      const answer = await client.ask(q("DO $$ BEGIN RAISE NOTICE 'hello'; END $$"));
      assert.equal(typesOf(answer), 'N C Z');
      for (const [name, value] of [
        ['client_encoding', 'LATIN1'],
        ['TimeZone', 'Asia/Tokyo'],
        ['application_name', 'protocol test'],
      ] as const) {
        const told = await client.ask(q(`SET ${name} = '${value}'`));
        assert.deepEqual(told.filter((m) => m.type === 'S').map(parameterOf), [[name, value]]);
      }
      assert.equal(await client.value('SHOW client_encoding'), 'LATIN1');
      assert.equal(await client.value('SHOW application_name'), 'protocol test');
      const [row] = (await client.ask(q("SELECT U&'\\00e9'"))).filter((m) => m.type === 'D');
      assert.deepEqual(valuesOf((row as Message).body)[0], Buffer.from([0xe9]));
    });

    it('tells a malformed query from a closed connection', async () => {
      const client = await connect();
      assert.equal(sqlStateOf(await client.ask(q('SELECT 1\0garbage'))), '08P01');
      assert.equal(await client.value('SELECT 5'), '5');
    });
  });

  describe('extended queries', () => {
    it('runs unnamed and named statements, and describes both', async () => {
      const client = await connect();
      const unnamed = [parse('SELECT $1::int + 1'), bind('', { values: ['41'] }), describePortal(), execute(), sync];
      const answer = await client.ask(...unnamed);
      assert.equal(typesOf(answer), '1 2 T D C Z');
      assert.deepEqual(rowsOf(answer), [['42']]);
      assert.equal(typesOf(await client.ask(parse('SELECT $1::int', 's1'), describeStatement('s1'), sync)), '1 t T Z');
      assert.equal(typesOf(await client.ask(bind('s1', { values: ['7'] }), execute(), sync)), '2 D C Z');
      assert.equal(typesOf(await client.ask(parse('', 'nothing'), bind('nothing'), execute(), sync)), '1 2 I Z');
      assert.equal(typesOf(await client.ask(parse('BEGIN', 'b'), describeStatement('b'), sync)), '1 t n Z');
      assert.equal(typesOf(await client.ask(closeStatement('s1'), closePortal('none'), sync)), '3 3 Z');
      assert.equal(sqlStateOf(await client.ask(bind('s1', { values: ['7'] }), execute(), sync)), '26000');
      assert.equal(await client.value('SELECT 5'), '5');
    });

    it('keeps the same name in many sessions apart', async () => {
      const sessions = await Promise.all(Array.from({ length: 12 }, () => connect()));
      await Promise.all(sessions.map((c, i) => c.ask(parse(`SELECT ${i % 5} + $1::int`, 'same'), sync)));
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          sessions.map(async (c, i) => {
            const answer = await c.ask(bind('same', { values: ['100'] }), execute(), sync);
            assert.deepEqual(rowsOf(answer), [[String(100 + (i % 5))]]);
          }),
        );
      }
    });

    it('parses without executing, and executes what was parsed before on any node', async () => {
      const client = await connect();
      await client.ask(parse('SELECT count(*) FROM things', 'read'), sync);
      await client.ask(parse("INSERT INTO things VALUES ($1, 'x') ON CONFLICT DO NOTHING", 'write', [INT4]), sync);
      for (let i = 0; i < 5; i++) {
        assert.equal(typesOf(await client.ask(bind('write', { values: ['500'] }), execute(), sync)), '2 C Z');
        assert.deepEqual(rowsOf(await client.ask(bind('read'), execute(), sync)), [['101']]);
        await client.query("SET fairlead.consistency = 'eventual'");
        await client.ask(bind('read'), execute(), sync);
        await client.query('RESET fairlead.consistency');
      }
      await client.query('DELETE FROM things WHERE id = 500');
    });

    it('answers Flush: Parse and Describe first, the rest later, as postgres.js does', async () => {
      const client = await connect();
      for (let i = 0; i < 3; i++) {
        client.send(parse('SELECT $1::int'), describeStatement(''), flush);
        assert.equal(typesOf(await client.untilType('T')), '1 t T');
        const answer = await client.ask(bind('', { values: [String(i)] }), execute(), sync);
        assert.equal(typesOf(answer), '2 D C Z');
        assert.deepEqual(rowsOf(answer), [[String(i)]]);
        client.send(parse('SELECT nonsense'), describeStatement(''), flush);
        assert.equal(typesOf(await client.untilType('E')), 'E');
        assert.equal(typesOf(await client.ask(sync)), 'Z');
      }
    });

    it('answers Flush behind Execute, the Sync later', async () => {
      const client = await connect();
      client.send(parse('SELECT 1'), bind(), execute(), flush);
      assert.equal(typesOf(await client.untilType('C')), '1 2 D C');
      client.send(parse('SELECT 2'), bind(), execute(), flush);
      assert.equal(typesOf(await client.untilType('C')), '1 2 D C');
      assert.equal(typesOf(await client.ask(sync)), 'Z');
    });

    // psycopg in pipeline mode waited for ever
    it('tells an error of a batch whose Sync does not come, and runs the rest of it behind that', async () => {
      const client = await connect();
      const insert = (id: string) => [bind('insert', { values: [id] }), describePortal(), execute()];
      for (const begin of ['BEGIN', 'SELECT 1']) {
        await client.ask(q(begin));
        await client.ask(parse('INSERT INTO things VALUES ($1) RETURNING id', 'insert'), sync);
        client.send(...insert('2000'), ...insert('1'), ...insert('2001'));
        assert.equal(typesOf(await client.untilType('E')), '2 T D C 2 T E');
        client.send(...insert('2002'));
        assert.equal(typesOf(await client.ask(sync)), 'Z');
        await client.ask(q('ROLLBACK'), closeStatement('insert'), sync);
        await client.untilReady();
      }
      client.send(parse('SELECT 1'), bind(), describePortal(), execute());
      assert.equal(typesOf(await client.untilType('C')), '1 2 T D C');
      assert.equal(
        typesOf(await client.ask(parse('SELECT 2'), bind(), describePortal(), execute(), sync)),
        '1 2 T D C Z',
      );
      assert.deepEqual(await client.query('SELECT count(*) FROM things WHERE id >= 2000'), [['0']]);
    });

    it('sends nothing for what follows an error, whatever was known, up to Sync', async () => {
      const client = await connect();
      await client.ask(parse('CREATE TEMP TABLE pinned ()'), bind(), execute(), sync);
      await client.ask(parse('SELECT 1', 'known'), sync);
      await client.ask(parse('SELECT 1/0', 'bad'), sync);
      // a statement that servers know already is answered by us: not behind an error
      client.send(bind('bad'), execute(), flush);
      assert.equal(sqlStateOf(await client.untilType('E')), '22012');
      client.send(parse('SELECT 1', 'other'), bind('other'), execute(), closeStatement('known'), flush);
      assert.equal(typesOf(await client.ask(sync)), 'Z');
      assert.equal(typesOf(await client.ask(parse('SELECT 1', 'other'), bind('other'), execute(), sync)), '1 2 D C Z');
    });

    it('answers many Syncs sent at once; an error ends only its own stretch', async () => {
      const client = await connect();
      const stretch = (i: number) => [
        parse(`SELECT ${i}`),
        bind(),
        execute(),
        parse(i === 3 ? 'SELECT nonsense' : 'SELECT $1::int'),
        bind('', { values: ['7'] }),
        execute(),
        sync,
      ];
      client.send(...Array.from({ length: 8 }, (_, i) => stretch(i)).flat());
      const answer = typesOf(await client.untilReady(8))
        .split('Z')
        .slice(0, 8);
      answer.forEach((types, i) => {
        assert.equal(types.trim(), i === 3 ? '1 2 D C E' : '1 2 D C 1 2 D C');
      });
      assert.equal(await client.value('SELECT 5'), '5');
    });

    it('leaves no statement behind when Parse fails', async () => {
      const client = await connect();
      const failed = await client.ask(parse('SELECT nonsense', 's'), describeStatement('s'), sync);
      assert.equal(typesOf(failed), 'E Z');
      assert.equal(sqlStateOf(await client.ask(bind('s'), execute(), sync)), '26000');
      assert.equal(typesOf(await client.ask(parse('SELECT 1', 's'), bind('s'), execute(), sync)), '1 2 D C Z');
    });

    it('knows that a failed Parse, or a simple query, takes the unnamed statement with it', async () => {
      const one = await connect();
      const other = await connect();
      assert.equal(typesOf(await one.ask(parse('SELECT 11'), sync)), '1 Z');
      assert.equal(typesOf(await other.ask(parse('SELECT nonsense'), sync)), 'E Z');
      assert.deepEqual(rowsOf(await one.ask(bind(), execute(), sync)), [['11']]);
      assert.equal(await other.value('SELECT 1'), '1');
      assert.deepEqual(rowsOf(await one.ask(bind(), execute(), sync)), [['11']]);
      await one.query("SET application_name = 'other settings'");
      assert.equal(typesOf(await one.ask(parse('SELECT 12'), sync)), '1 Z');
      assert.deepEqual(rowsOf(await one.ask(bind(), execute(), sync)), [['12']]);
      await other.query("SELECT set_config('application_name', 'x', false)");
      assert.deepEqual(rowsOf(await one.ask(bind(), execute(), sync)), [['12']]);
    });

    it('uses the unnamed statement again after other sessions used the connection', async () => {
      const sessions = await Promise.all(Array.from({ length: 6 }, () => connect()));
      await Promise.all(sessions.map((c, i) => c.ask(parse(`SELECT ${i}`), describeStatement(''), sync)));
      for (let round = 0; round < 4; round++) {
        for (const [i, c] of sessions.entries()) {
          assert.deepEqual(rowsOf(await c.ask(bind(), execute(), sync)), [[String(i)]]);
        }
      }
    });

    it('suspends portals at a row limit and goes on inside a transaction', async () => {
      const client = await connect();
      await client.query('BEGIN');
      const named = { portal: 'p1' };
      client.send(parse('SELECT id FROM things ORDER BY id'), bind('', named), execute(30, 'p1'), sync);
      let answer = await client.untilReady();
      assert.equal(answer.filter((m) => m.type === 'D').length, 30);
      assert.equal(typesOf(answer.slice(-2)), 's Z');
      await client.query('SELECT 1');
      answer = await client.ask(execute(30, 'p1'), execute(0, 'p1'), sync);
      const ids = rowsOf(answer).map((row) => Number(row[0]));
      assert.deepEqual([ids[0], ids.at(-1), ids.length], [31, 100, 70]);
      assert.equal(typesOf(answer.filter((m) => m.type !== 'D')), 's C Z');
      await client.query('COMMIT');
      assert.equal(sqlStateOf(await client.ask(execute(1, 'p1'), sync)), '34000');
    });

    it('passes binary parameters and results', async () => {
      const client = await connect();
      const number = Buffer.from([0x7f, 0, 0, 1]);
      const formats = { values: [number], binaryValues: true, binaryResults: true };
      const answer = await client.ask(parse('SELECT $1', '', [INT4]), bind('', formats), execute(), sync);
      const [row] = answer.filter((m) => m.type === 'D');
      assert.deepEqual(valuesOf((row as Message).body), [number]);
    });

    it('takes DEALLOCATE in SQL for statements made by Parse', async () => {
      const client = await connect();
      await client.ask(parse('SELECT 1', 'gone'), parse('SELECT 2', 'stays'), sync);
      await client.query('DEALLOCATE gone');
      assert.equal(sqlStateOf(await client.ask(bind('gone'), execute(), sync)), '26000');
      assert.deepEqual(rowsOf(await client.ask(bind('stays'), execute(), sync)), [['2']]);
      const deallocate = [parse('DEALLOCATE stays'), bind(), execute(), sync];
      assert.equal(typesOf(await client.ask(...deallocate)), '1 2 C Z');
      assert.equal(sqlStateOf(await client.ask(bind('stays'), execute(), sync)), '26000');
      await client.ask(parse('SELECT 3', 'third'), sync);
      await client.query('DEALLOCATE ALL');
      assert.equal(sqlStateOf(await client.ask(bind('third'), execute(), sync)), '26000');
      assert.equal(typesOf(await client.ask(parse('SELECT 3', 'third'), bind('third'), execute(), sync)), '1 2 D C Z');
    });

    it('only executing DEALLOCATE has its effect', async () => {
      const client = await connect();
      await client.ask(parse('SELECT 1', 'kept'), parse('DEALLOCATE ALL', 'all'), describeStatement('all'), sync);
      assert.deepEqual(rowsOf(await client.ask(bind('kept'), execute(), sync)), [['1']]);
      assert.equal(typesOf(await client.ask(bind('all'), execute(), sync)), '2 C Z');
      assert.equal(sqlStateOf(await client.ask(bind('kept'), execute(), sync)), '26000');
    });

    it('gives errors of the server for malformed messages, and goes on', async () => {
      const client = await connect();
      const malformed = bind('', { values: ['1'] });
      malformed[malformed.length - 4] = 9;
      const answer = await client.ask(parse('SELECT $1::int'), malformed, execute(), sync);
      assert.equal(sqlStateOf(answer), '08P01');
      assert.equal(await client.value('SELECT 5'), '5');
    });
  });

  describe('long messages', () => {
    it('passes a Bind of 40 MB and a query of 20 MB', async () => {
      const client = await connect();
      const value = Buffer.alloc(40 * 1024 * 1024, 'x');
      const long = [parse('SELECT length($1::text)', 'long'), bind('long', { values: [value] }), execute(), sync];
      assert.deepEqual(rowsOf(await client.ask(...long)), [[String(value.length)]]);
      const text = `SELECT length('${'y'.repeat(20 * 1024 * 1024)}')`;
      assert.equal(await client.value(text), String(20 * 1024 * 1024));
      assert.deepEqual(rowsOf(await client.ask(bind('long', { values: ['z'] }), execute(), sync)), [['1']]);
    });

    it('lets no setting out of a query too long to be looked at', async () => {
      const client = await connect();
      await client.query(`SET search_path = 'pg_catalog'; SELECT '${'y'.repeat(17 * 1024 * 1024)}' = ''`);
      assert.equal(await client.value('SHOW search_path'), 'pg_catalog');
      const others = await Promise.all([connect(), connect(), connect()]);
      for (const other of others) {
        assert.equal(await other.value('SHOW search_path'), '"$user", public');
      }
    });

    it('gives a whole result larger than the socket takes at once, and the connection to the next', async () => {
      const sessions = await Promise.all(Array.from({ length: 8 }, () => connect()));
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          sessions.map(async (c, i) => {
            const size = 10_000 * (i + 1) + round;
            assert.equal((await c.value(`SELECT repeat('x', ${size})`))?.length, size);
          }),
        );
      }
    });
  });

  describe('COPY', () => {
    it('goes in and out with simple queries, and survives CopyFail', async () => {
      const client = await connect();
      client.send(q('COPY copied FROM STDIN'));
      assert.equal(typesOf(await client.untilType('G')), 'G');
      const done = await client.ask(copyData('1\n2\n'), copyData('3\n'), copyDone);
      assert.equal(typesOf(done), 'C Z');
      assert.equal(typesOf(await client.ask(q('COPY (SELECT generate_series(1,3)) TO STDOUT'))), 'H d d d c C Z');
      client.send(q('COPY copied FROM STDIN'));
      await client.untilType('G');
      const failed = await client.ask(copyData('4\n'), copyFail('no more'));
      assert.equal(sqlStateOf(failed), '57014');
      assert.equal(await client.value('SELECT count(*) FROM copied'), '3');
    });

    it('goes in when the client sends data without waiting', async () => {
      const client = await connect();
      const answer = await client.ask(q('COPY copied FROM STDIN'), copyData('10\n11\n'), copyDone);
      assert.equal(typesOf(answer), 'G C Z');
      assert.equal(await client.value('SELECT count(*) FROM copied WHERE id >= 10'), '2');
    });

    it('goes in with the extended protocol in the order of libpq, with Flush, and all at once', async () => {
      const client = await connect();
      const start = [parse('COPY copied FROM STDIN'), bind(), describePortal(), execute()];
      client.send(...start, sync);
      assert.equal(typesOf(await client.untilType('G')), '1 2 n G');
      assert.equal(typesOf(await client.ask(copyData('20\n'), copyDone, sync)), 'C Z');
      client.send(...start, flush);
      assert.equal(typesOf(await client.untilType('G')), '1 2 n G');
      assert.equal(typesOf(await client.ask(copyData('21\n'), copyDone, sync)), 'C Z');
      assert.equal(typesOf(await client.ask(...start, sync, copyData('22\n'), copyDone, sync)), '1 2 n G C Z');
      assert.equal(await client.value('SELECT count(*) FROM copied WHERE id BETWEEN 20 AND 22'), '3');
      const out = [parse('COPY (SELECT 1) TO STDOUT'), bind(), execute(), sync];
      assert.equal(typesOf(await client.ask(...out)), '1 2 H d c C Z');
      const refused = [parse('COPY nowhere FROM STDIN'), bind(), execute(), sync];
      assert.equal(typesOf(await client.ask(...refused)), '1 2 E Z');
      assert.equal(await client.value('SELECT 5'), '5');
    });

    it('survives an error of the server while the client still sends', async () => {
      const client = await connect();
      const lines = Buffer.from('7\n'.repeat(50_000));
      client.send(q('COPY copied FROM STDIN'));
      await client.untilType('G');
      client.send(copyData('not a number\n'));
      for (let i = 0; i < 30; i++) client.send(copyData(lines));
      client.send(copyDone, q('SELECT 5'));
      const answer = await client.untilReady(2);
      assert.equal(typesOf(answer), 'E Z T D C Z');
      assert.equal(sqlStateOf(answer), '22P02');
    });

    it('cuts no message in two when the server ends a COPY inside a long one', async () => {
      const one = await connect();
      one.send(q('COPY copied FROM STDIN'));
      await one.untilType('G');
      one.send(copyData('not a number\n'));
      await new Promise((resolve) => setImmediate(resolve));
      const long = copyData(Buffer.alloc(30 * 1024 * 1024, '8\n'));
      one.send(long.subarray(0, 18 * 1024 * 1024));
      assert.equal(sqlStateOf(await one.untilReady()), '22P02');
      const others = await Promise.all([connect(), connect()]);
      for (const other of others) {
        await other.query('BEGIN');
        assert.equal(await other.value('SELECT 5'), '5');
      }
      for (const other of others) await other.query('COMMIT');
      one.send(long.subarray(18 * 1024 * 1024), copyDone);
      assert.equal(await one.value('SELECT 6'), '6');
    });

    it('keeps count of Syncs when the server refuses before it reads any data', async () => {
      await cluster.node('pg1').query(`
        CREATE TABLE guarded (id int);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON guarded FOR EACH STATEMENT EXECUTE FUNCTION refuse();`);
      const client = await connect();
      const start = [parse('COPY guarded FROM STDIN'), bind(), execute(), sync];
      for (let i = 0; i < 5; i++) {
        // like libpq: the data, CopyDone and a second Sync follow whatever the answer is
        client.send(...start, copyData('1\n'), copyDone, sync);
        await client.untilType('E');
        client.send(q(`SELECT 'after ${i}'`));
        const rest = await client.untilType('D');
        assert.deepEqual(rowsOf(rest), [[`after ${i}`]]);
        await client.untilReady();
        const other = await connect();
        assert.equal(await other.value(`SELECT 'other ${i}' FROM things LIMIT 1`), `other ${i}`);
      }
    });

    it('ends with the client', async () => {
      for (const leave of ['before data', 'inside data', 'behind data'] as const) {
        const client = await connect();
        client.send(q('COPY copied FROM STDIN'));
        await client.untilType('G');
        if (leave !== 'before data') client.send(copyData('90\n'));
        if (leave === 'inside data') client.send(copyData('91\n').subarray(0, 6));
        client.vanish();
        await untilRested(fairlead);
      }
      const reader = await connect();
      assert.equal(await reader.value('SELECT count(*) FROM copied WHERE id >= 90'), '0');
    });
  });

  describe('a client that vanishes', () => {
    const moments: Record<string, (client: RawClient) => Promise<unknown>> = {
      'in a transaction': (c) => c.query('BEGIN; INSERT INTO things VALUES (2000)'),
      'inside a message': async (c) => c.send(q('SELECT pg_sleep(0)').subarray(0, 9)),
      'inside a long message': async (c) => c.send(q(`SELECT '${'x'.repeat(18e6)}'`).subarray(0, 17e6)),
      'while its statement runs': async (c) => c.send(q('SELECT pg_sleep(60)')),
      'behind Flush': async (c) => {
        c.send(parse('SELECT 1'), bind(), execute(), flush);
        await c.untilType('C');
      },
      'with settings on their way': async (c) => c.send(q("SET application_name = 'vanished'")),
      'in the middle of its result': async (c) => {
        c.send(q("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"));
        await c.untilType('D');
      },
    };
    for (const [moment, act] of Object.entries(moments)) {
      it(`${moment}: no server connection is left busy`, async () => {
        const client = await connect();
        await act(client);
        client.vanish();
        await untilRested(fairlead);
        const busy =
          "SELECT query FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = '' " +
          "AND state <> 'idle' AND pid <> pg_backend_pid()";
        for (const node of cluster.nodes) {
          await until(async () => (await node.query(busy)).length === 0, { what: `an idle ${node.name}` });
        }
        const next = await connect();
        assert.equal(await next.value('SHOW application_name'), '');
        assert.equal(await next.value('SELECT count(*) FROM things WHERE id = 2000'), '0');
      });
    }

    it('while it waits for a server connection: the next in the queue gets it', async () => {
      const holders = await Promise.all([connect(), connect()]);
      for (const holder of holders) await holder.query('BEGIN; LOCK TABLE copied IN ACCESS SHARE MODE');
      const [gone, next] = await Promise.all([connect(), connect()]);
      gone.send(q('DELETE FROM things WHERE false'));
      await untilWaiting(1);
      next.send(q('DELETE FROM things WHERE false'));
      await untilWaiting(2);
      gone.vanish();
      await untilWaiting(1);
      await holders[0]?.query('COMMIT');
      assert.equal(typesOf(await next.untilReady()), 'C Z');
      await holders[1]?.query('COMMIT');
    });
  });

  describe('cancel requests', () => {
    it('cancel a running statement', async () => {
      const client = await connect();
      client.send(q('SELECT pg_sleep(60)'));
      await untilRunning('pg_sleep(60)');
      await client.cancel();
      assert.equal(sqlStateOf(await client.untilReady()), '57014');
      assert.equal(await client.value('SELECT 5'), '5');
    });

    it('cancel a statement that waits for a server connection', async () => {
      const holders = await Promise.all([connect(), connect()]);
      for (const holder of holders) await holder.query('BEGIN; LOCK TABLE copied IN ACCESS SHARE MODE');
      const client = await connect();
      client.send(q('DELETE FROM things WHERE false'));
      await untilWaiting(1);
      await client.cancel();
      assert.equal(sqlStateOf(await client.untilReady()), '57014');
      client.send(parse('DELETE FROM things WHERE false'), bind(), execute(), sync);
      await untilWaiting(1);
      await client.cancel();
      const answer = await client.untilReady();
      assert.equal(typesOf(answer), 'E Z');
      for (const holder of holders) await holder.query('COMMIT');
      assert.equal(await client.value('SELECT 5'), '5');
    });

    it('do nothing to an idle session, with a wrong secret, or for nobody', async () => {
      const client = await connect();
      await client.cancel();
      assert.equal(await client.value('SELECT 5'), '5');
      const holder = await RawClient.connect(cluster.node('pg1').url);
      clients.push(holder);
      await holder.query('BEGIN; LOCK TABLE copied IN ACCESS EXCLUSIVE MODE');
      client.send(q("DELETE FROM copied WHERE 'held' = ''"));
      await untilRunning("'held' = ''");
      await client.cancel(client.pid, Buffer.from([1, 2, 3, 4]));
      await client.cancel(client.pid, Buffer.alloc(0));
      await client.cancel(client.pid, Buffer.alloc(200));
      await client.cancel(1, client.secret);
      await holder.query('COMMIT');
      assert.equal(sqlStateOf(await client.untilReady()), null);
    });

    it('never hit a neighbour on the same server connection', async () => {
      const cancelled = await Promise.all(Array.from({ length: 4 }, () => connect()));
      const neighbours = await Promise.all(Array.from({ length: 4 }, () => connect()));
      let over = false;
      const counts = { cancelled: 0, rounds: 0 };
      const racing = cancelled.map(async (client) => {
        for (let i = 0; i < 60; i++) {
          client.send(q('SELECT pg_sleep(0.002), count(*) FROM things'));
          const done = client.untilReady();
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 6));
          await client.cancel();
          const state = sqlStateOf(await done);
          assert.ok(state === null || state === '57014', `SQLSTATE ${state}`);
          if (state !== null) counts.cancelled++;
          counts.rounds++;
        }
      });
      const calm = neighbours.map(async (client, n) => {
        for (let i = 0; !over; i++) {
          if (i % 3 === 0) await client.query(`SET application_name = 'neighbour ${n} ${i}'`);
          const answer = await client.ask(q(`SELECT ${i}, pg_sleep(0.001)`));
          assert.equal(sqlStateOf(answer), null);
          assert.equal(rowsOf(answer)[0]?.[0], String(i));
        }
      });
      await Promise.all(racing).finally(() => {
        over = true;
      });
      await Promise.all(calm);
      assert.ok(counts.cancelled > 0, 'some were cancelled');
    });

    it('that race with the end of SET do not end the session', async () => {
      const client = await connect();
      for (let i = 0; i < 40; i++) {
        client.send(q(`SET application_name = 'round ${i}'`));
        await Promise.all([client.cancel(), client.untilReady()]);
        await client.query('SELECT 1');
      }
      await client.query("SET application_name = 'last'");
      assert.equal(await client.value('SHOW application_name'), 'last');
    });
  });

  async function untilWaiting(count: number): Promise<void> {
    const waiting = async () => (await showPools(fairlead.url)).reduce((sum, pool) => sum + Number(pool.cl_waiting), 0);
    await until(async () => (await waiting()) === count, { what: `${count} waiting clients` });
  }

  async function untilRunning(text: string): Promise<void> {
    const running = `SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()`;
    await until(
      async () => {
        for (const node of cluster.nodes) if ((await node.query(running, [`%${text}%`])).length > 0) return true;
        return false;
      },
      { what: `${text} to run` },
    );
  }
});
