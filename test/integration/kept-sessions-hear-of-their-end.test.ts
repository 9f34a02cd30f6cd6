import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { type Answer, httpGet, httpPost, type Json } from '../support/http.ts';
import { type Heard, KeptSessions, lastWord } from '../support/kept-sessions.ts';
import { bind, execute, type Message, parse, q, RawClient, sqlStateOf, sync } from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** What a switchover, and the death of the primary, are to sessions that keep their server connection. */
describe('sessions that keep their server connection', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let kept: KeptSessions | undefined;
  const clients: RawClient[] = [];

  const start = async (hold: string) => {
    const databases = { sess: { dbname: 'postgres', pool_mode: 'session' as const } };
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: '2s', hold }, databases } });
    await untilServing(fairlead, 2);
  };
  /** @param what it does to keep its server connection */
  const open = async (what: string | null, database = 'postgres') => {
    const url = new URL(fairlead.url);
    url.pathname = `/${database}`;
    const client = await RawClient.connect(url.href);
    clients.push(client);
    if (what !== null) await client.query(what);
    return client;
  };
  const handingOver = () => fairlead.app.cluster.assignment.value.handingOver;

  /** A switchover that has begun, and waits for a transaction. @returns how it ends, and what that transaction is ended with */
  async function begin(wait: string): Promise<{ readonly made: Promise<Answer>; readonly blocker: RawClient }> {
    const blocker = await open('BEGIN');
    await blocker.query('INSERT INTO kept VALUES (0)');
    const made = httpPost(`${fairlead.http}/api/switchover`, { to: 'pg2', wait });
    made.catch(() => {});
    await until(() => handingOver() === 'pg1', { what: 'the switchover to have begun' });
    return { made, blocker };
  }

  async function undo(made: Promise<Answer>): Promise<void> {
    await httpPost(`${fairlead.http}/api/switchover`, { cancel: true });
    assert.deepEqual((await made).body.error, 'an operator cancelled it');
  }

  async function untilHeld(count: number): Promise<void> {
    const held = async () => (await show(fairlead.url, 'SHOW CLIENTS')).filter((row) => row.waiting_for === 'hold');
    await until(async () => (await held()).length === count, { what: `${count} clients that are held` });
  }

  const newRows = async (node: string): Promise<number[]> =>
    (await cluster.node(node).query<{ id: number }>('SELECT id FROM kept WHERE id >= 100 ORDER BY 1')).map(
      ({ id }) => id,
    );

  before(async () => {
    cluster = await startTestCluster();
    await KeptSessions.prepare(cluster, 'pg1');
  });
  after(async () => {
    kept?.close();
    for (const client of clients) client.socket.destroy();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('are told when a server that hands over does not get on with it, and keep it', async () => {
    await start('1s');
    const session = await open('CREATE TEMPORARY TABLE mine (id int)');
    const { made, blocker } = await begin('25s');
    await assert.rejects(session.query('INSERT INTO mine VALUES (1)'), { code: '57P03', message: /for 1000 ms/ });
    await undo(made);
    await session.query('INSERT INTO mine VALUES (2)');
    assert.deepEqual(await session.query('SELECT * FROM mine'), [['2']]);
    await blocker.query('ROLLBACK');
    await fairlead.stop();
    await start('30s');
  });

  it('wait while it hands over, read on meanwhile, and go on where they were when that is undone', async () => {
    const table = await open('CREATE TEMPORARY TABLE mine (id int)');
    const reader = await open('CREATE TEMPORARY TABLE mine (id int)');
    const lock = await open('SELECT pg_advisory_lock(7)');
    const cancelled = await open('SELECT pg_advisory_lock(8)');
    const mode = await open(`SET shop.customer = '42'`, 'sess');
    const { made, blocker } = await begin('25s');
    table.send(q('INSERT INTO mine VALUES (3)'));
    lock.send(parse('INSERT INTO kept VALUES (100)'), bind(), execute(), sync);
    cancelled.send(q('INSERT INTO kept VALUES (101)'));
    mode.send(q('INSERT INTO kept VALUES (102)'));
    await untilHeld(4);
    assert.deepEqual(await reader.query('SELECT count(*) FROM mine'), [['0']]);
    await cancelled.cancel();
    assert.equal(sqlStateOf(await cancelled.untilReady()), '57014');
    await untilHeld(3);
    assert.deepEqual(
      [table, lock, mode].map((client) => client.waiting.length),
      [0, 0, 0],
    );
    await undo(made);
    for (const client of [table, lock, mode]) assert.equal(sqlStateOf(await client.untilReady()), null);
    assert.deepEqual(await table.query('SELECT * FROM mine'), [['3']]);
    for (const client of [lock, cancelled]) {
      const held = `SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`;
      assert.equal((await client.query(held)).length, 1);
    }
    await blocker.query('ROLLBACK');
    assert.deepEqual(await newRows('pg1'), [100, 102]);
    // what is left of it does not hold up what comes next
    for (const client of [table, reader, lock, cancelled, mode]) await client.end();
  });

  async function assertTold(t: TestContext, what: RegExp): Promise<void> {
    const heard = await (kept as KeptSessions).lastWords();
    for (const [name, word] of Object.entries(heard)) t.diagnostic(`${name}: ${JSON.stringify(word)}`);
    const codes = Object.entries(heard).map(([name, word]) => [name, word && `${word.severity} ${word.sqlState}`]);
    assert.deepEqual(Object.fromEntries(codes), KeptSessions.expected());
    for (const [name, word] of Object.entries(heard)) assertSays(word, what, name);
    kept?.close();
  }

  function assertSays(word: Heard | null, what: RegExp, name: string): void {
    const { message, hint } = word as Heard;
    assert.match(message, what, name);
    assert.match(`${message} ${hint}`, /state of the session|kept its server connection/, name);
    assert.match(hint, /reconnect|check whether/, name);
  }

  it('hear of their end in a switchover, whatever they are in the middle of; none writes to the server that hands over', async (t) => {
    kept = await KeptSessions.open(fairlead.url, cluster, 'pg1');
    const held = {
      table: await open('CREATE TEMPORARY TABLE mine (id int)'),
      lock: await open('SELECT pg_advisory_lock(7)'),
      listening: await open('LISTEN news', 'sess'),
    };
    const [mode, idle] = [await open(`SET shop.customer = '42'`, 'sess'), await open(null, 'sess')];
    await idle.query('SELECT 1');
    const { made } = await begin('4s');
    held.table.send(q('INSERT INTO mine VALUES (3)'));
    held.lock.send(q('INSERT INTO kept VALUES (103)'));
    held.listening.send(parse('INSERT INTO kept VALUES (104)'), bind(), execute(), sync);
    mode.send(q(`INSERT INTO kept VALUES (105)`));
    await untilHeld(4);
    const { status, body }: { status: number; body: Json } = await made;
    assert.equal(status, 200, JSON.stringify(body));
    const handsOver = /node pg1( hands over to another primary|: no longer the primary)/;
    await assertTold(t, handsOver);
    for (const [name, client] of Object.entries(held)) {
      const word = await lastWord(client);
      assert.equal(word?.sqlState, '57P01', `${name}: ${JSON.stringify(word)}`);
      assert.equal(client.waiting.length, 1, name);
      assertSays(word, handsOver, name);
    }
    // nothing of these lived in the connection
    const answer: Message[] = await mode.untilReady();
    assert.equal(sqlStateOf(answer), null);
    assert.equal(await mode.value("SELECT current_setting('shop.customer')"), '42');
    await idle.query('INSERT INTO kept VALUES (106)');
    assert.deepEqual(await newRows('pg2'), [100, 102, 105, 106]);
    const { primary } = (await httpGet(`${fairlead.http}/api/cluster`)).body;
    assert.equal(primary, 'pg2');
  });

  it('hear of it when the primary is killed', async (t) => {
    const { topology } = fairlead.app.cluster;
    await until(() => topology.value.replicas.some(({ name }) => name === 'pg3'), { what: 'pg3 to follow pg2' });
    kept = await KeptSessions.open(fairlead.url, cluster, 'pg2');
    await cluster.node('pg2').kill9();
    await until(() => topology.value.primary?.name === 'pg3', { what: 'pg3 to be the primary', timeoutMs: 20_000 });
    await assertTold(t, /pg2|unexpected postmaster exit/);
  });
});
