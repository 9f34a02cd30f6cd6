/**
 * DDL changes the types of a statement that a driver has described once and runs without asking again. What PostgreSQL refuses then
 * ("cached plan must not change result type") must be refused also where the statement is prepared anew on another server connection: the
 * driver would read the rows by an outdated description. postgres.js read beyond the end of a row.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import {
  bind,
  describePortal,
  describeStatement,
  execute,
  flush,
  type Message,
  parse,
  q,
  RawClient,
  rowsOf,
  sqlStateOf,
  sync,
} from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';

const READ = 'SELECT * FROM shapes WHERE id = $1';
const WRITE = 'INSERT INTO shapes (id) VALUES ($1) RETURNING *';
const one = bind('s', { values: ['1'] });

describe('outdated types are told', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const clients: RawClient[] = [];

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 3 }, routing: { freshness_wait: 20_000 } } });
    await untilServing(fairlead, 1);
  });
  beforeEach(async () => {
    const client = await connect();
    await client.ask(
      q('DROP TABLE IF EXISTS shapes; CREATE TABLE shapes (id int, a int); INSERT INTO shapes VALUES (1, 2)'),
    );
    // other sessions may read from the replica from then on
    await replayed();
  });
  after(async () => {
    for (const client of clients) client.socket.destroy();
    await fairlead?.stop();
    await cluster?.stop();
  });

  const replayed = () => untilReplayed(cluster, cluster.node('pg2'));

  async function connect(): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url);
    clients.push(client);
    return client;
  }
  async function alter(): Promise<void> {
    const other = await connect();
    assert.equal(sqlStateOf(await other.ask(q('ALTER TABLE shapes ALTER a TYPE text'))), null);
    await replayed();
  }
  /** Every server connection of the session's is somebody else's for a while, and has the statement as it is now. */
  async function prepareElsewhere(text: string): Promise<void> {
    const others = [await connect(), await connect(), await connect(), await connect()];
    await Promise.all(others.map((other) => other.ask(parse(text, 'other'), describeStatement('other'), sync)));
  }
  function isRefused(messages: readonly Message[], status: string): void {
    assert.equal(sqlStateOf(messages), '0A000');
    const error = messages.find(({ type }) => type === 'E') as Message;
    assert.match(error.body.toString(), /cached plan must not change result type/);
    assert.match(error.body.toString(), /RRevalidateCachedQuery/);
    assert.equal(rowsOf(messages).length, 0);
    assert.equal(messages.at(-1)?.body.toString(), status);
  }

  for (const [kind, text] of [
    ['read', READ],
    ['write', WRITE],
  ] as const) {
    it(`to whoever described a ${kind} once, on every server connection`, async () => {
      const client = await connect();
      await client.ask(parse(text, 's'), describeStatement('s'), sync);
      for (let i = 0; i < 3; i++) assert.equal(sqlStateOf(await client.ask(one, execute(), sync)), null);
      const direct = cluster.node('pg1');
      await alter();
      const before = await direct.query('SELECT count(*) FROM shapes');
      isRefused(await client.ask(one, execute(), sync), 'I');
      await prepareElsewhere(text);
      for (let i = 0; i < 4; i++) isRefused(await client.ask(one, execute(), sync), 'I');
      assert.deepEqual(await direct.query('SELECT count(*) FROM shapes'), before, 'what was refused has not run');
      // and as drivers go on
      await client.ask(parse(text, 't'), describeStatement('t'), sync);
      for (let i = 0; i < 3; i++)
        assert.equal(sqlStateOf(await client.ask(bind('t', { values: ['1'] }), execute(), sync)), null);
    });

    it(`in a transaction, which fails by that: a ${kind}`, async () => {
      const client = await connect();
      await client.ask(parse(text, 's'), describeStatement('s'), flush, one, execute(), sync);
      await alter();
      await prepareElsewhere(text);
      await client.ask(q('BEGIN'));
      isRefused(await client.ask(one, execute(), sync), 'E');
      assert.equal(sqlStateOf(await client.ask(q('SELECT 1'))), '25P02');
      assert.equal(sqlStateOf(await client.ask(q('ROLLBACK'))), null);
    });
  }

  it('also of what was described as a portal', async () => {
    const client = await connect();
    await client.ask(parse(READ, 's'), one, describePortal(), execute(), sync);
    await alter();
    await prepareElsewhere(READ);
    isRefused(await client.ask(one, execute(), sync), 'I');
  });

  it('when a parameter has another type than the client was told', async () => {
    const client = await connect();
    const text = 'SELECT a FROM shapes WHERE id = $1';
    await client.ask(parse(text, 's'), describeStatement('s'), sync);
    const other = await connect();
    await other.ask(q('ALTER TABLE shapes ALTER id TYPE float4'));
    await replayed();
    await prepareElsewhere(text);
    // four bytes that would be taken for another number
    const values = [Buffer.from([0, 0, 0, 1])] as unknown as string[];
    const answer = await client.ask(bind('s', { values, binaryValues: true }), execute(), sync);
    assert.equal(sqlStateOf(answer), '0A000');
  });

  it('not to who asks for the types with each use: the statement is prepared again', async () => {
    const client = await connect();
    await client.ask(parse(READ, 's'), one, describePortal(), execute(), sync);
    await alter();
    for (let i = 0; i < 4; i++) {
      const answer = await client.ask(one, describePortal(), execute(), sync);
      assert.deepEqual(rowsOf(answer), [['1', '2']]);
    }
    // and what was told last is what holds
    assert.deepEqual(rowsOf(await client.ask(one, execute(), sync)), [['1', '2']]);
  });

  it('not for a table made anew with the same columns', async () => {
    const client = await connect();
    await client.ask(parse(READ, 's'), describeStatement('s'), sync);
    const other = await connect();
    await other.ask(q('DROP TABLE shapes; CREATE TABLE shapes (id int, a int); INSERT INTO shapes VALUES (1, 3)'));
    await prepareElsewhere(READ);
    // sees the new table: what another session did is bounded by nothing else
    await client.ask(q("SET fairlead.consistency = 'strong'"));
    for (let i = 0; i < 3; i++) assert.deepEqual(rowsOf(await client.ask(one, execute(), sync)), [['1', '3']]);
  });
});
