import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { type Random, randomFrom } from '../support/random.ts';
import {
  bind,
  describePortal,
  execute,
  type Message,
  parse,
  q,
  RawClient,
  rowsOf,
  sqlStateOf,
  sync,
} from '../support/raw-client.ts';
import { SEED } from '../support/seed.ts';
import { untilServing } from '../support/serving.ts';

const SCRIPTS = 25;
const STATEMENTS = 40;

/** What a client may do about channels, in any order. */
function statement(random: Random): string {
  const channel = 'abcd'[random.int(4)] as string;
  const savepoint = 'st'[random.int(2)] as string;
  const all = [
    `LISTEN ${channel}`,
    `LISTEN ${channel}`,
    `LISTEN ${channel}`,
    `UNLISTEN ${channel}`,
    'UNLISTEN *',
    `NOTIFY ${channel}`,
    `NOTIFY ${channel}, 'x'`,
    `SELECT pg_notify('${channel}', 'y')`,
    'BEGIN',
    'BEGIN',
    'COMMIT',
    'COMMIT',
    'ROLLBACK',
    'COMMIT AND CHAIN',
    'ROLLBACK AND CHAIN',
    `SAVEPOINT ${savepoint}`,
    `SAVEPOINT ${savepoint}`,
    `ROLLBACK TO ${savepoint}`,
    `RELEASE ${savepoint}`,
    'SELECT 1 / 0',
    'SELECT 1',
    'SELECT pg_listening_channels()',
    'DISCARD ALL',
    'BEGIN READ ONLY',
    `LISTEN ${channel}; SELECT 1`,
    `UNLISTEN ${channel}; SELECT 1`,
    `BEGIN; LISTEN ${channel}; COMMIT`,
    `BEGIN; LISTEN ${channel}; ROLLBACK`,
    `UNLISTEN *; SELECT 1 / 0`,
  ];
  return all[random.int(all.length)] as string;
}

function summary(messages: readonly Message[]) {
  const notified = messages.filter((m) => m.type === 'A').map((m) => m.body.toString('utf8', 4));
  return {
    types: messages
      .map((m) => m.type)
      .filter((type) => type !== 'A' && type !== 'N')
      .join(' '),
    sqlState: sqlStateOf(messages),
    status: messages.at(-1)?.body.toString(),
    rows: rowsOf(messages)
      .map((row) => row.join())
      .sort(),
    notified,
  };
}

let cluster: TestCluster;
let fairlead: TestFairlead;

before(async () => {
  cluster = await startTestCluster({ replicas: 1 });
  // one hears nothing of what is notified in the other
  await cluster.node('pg1').query('CREATE DATABASE direct');
  await cluster.node('pg1').query('CREATE DATABASE proxied');
  fairlead = await startFairlead(cluster, { config: { pool: { size: 3 } } });
  await untilServing(fairlead, 1);
});
after(async () => {
  await fairlead?.stop();
  await cluster?.stop();
});

it(`listening through the proxy is like listening directly (seed ${SEED})`, async () => {
  const databaseOf = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href;
  const { url } = cluster.node('pg1');
  const outside = [
    await RawClient.connect(databaseOf(url, 'direct')),
    await RawClient.connect(databaseOf(url, 'proxied')),
  ];
  for (let script = 0; script < SCRIPTS; script++) {
    const random = randomFrom(SEED + script);
    const both = [
      await RawClient.connect(databaseOf(url, 'direct')),
      // NOTIFY in a READ ONLY transaction needs the primary
      await RawClient.connect(databaseOf(fairlead.url, 'proxied'), { options: '-c fairlead.consistency=primary' }),
    ];
    const done: string[] = [];
    let notified = false;
    for (let i = 0; i < STATEMENTS; i++) {
      // what was notified before is told before this is answered, unless a transaction is open
      const text: string = notified ? 'SELECT 1' : statement(random);
      notified = false;
      const extended = !text.includes(';') && random.chance(0.3);
      const bytes = extended ? Buffer.concat([parse(text), bind(), describePortal(), execute(), sync]) : q(text);
      done.push(extended ? `(extended) ${text}` : text);
      const [direct, proxied] = await Promise.all(both.map(async (one) => summary(await one.ask(bytes))));
      assert.deepEqual(proxied, direct, `seed ${SEED + script}: ${done.join('\n')}`);
      // what was notified during a transaction PostgreSQL hands out by what is listened on at its end
      if (direct?.status !== 'I' || !random.chance(0.3)) continue;
      const channel = 'abcd'[random.int(4)] as string;
      notified = true;
      done.push(`from outside: NOTIFY ${channel}`);
      await Promise.all(outside.map((one) => one.query(`NOTIFY ${channel}, 'outside ${script}.${i}'`)));
    }
    for (const one of both) await one.end();
  }
  for (const one of outside) await one.end();
});

// pg-boss asks like this every few seconds; refused, it took its subscription for lost and connected again and again
it('any query finds the channels that the session listens on', async () => {
  const client = await RawClient.connect(fairlead.url);
  const other = await RawClient.connect(fairlead.url);
  await client.query('LISTEN one');
  await client.query('LISTEN "The ""Other"""');
  const listening = (channel: string) =>
    `SELECT EXISTS (SELECT FROM pg_listening_channels() AS c(name) WHERE name = '${channel}')`;
  for (let i = 0; i < 3; i++) {
    for (const channel of ['one', 'The "Other"']) assert.deepEqual(await client.query(listening(channel)), [['t']]);
    assert.deepEqual(await client.query(listening('none')), [['f']]);
    assert.deepEqual(await client.query('SELECT count(*) FROM pg_listening_channels()'), [['2']]);
    assert.deepEqual(await other.query(listening('one')), [['f']], 'the session alone listens');
    assert.deepEqual(await other.query('SELECT count(*) FROM pg_listening_channels()'), [['0']]);
    await other.query(`NOTIFY one, '${i}'`);
    const [notification] = await client.untilType('A');
    assert.ok(notification?.body.includes(`one\0${i}\0`));
  }
  await client.query('SELECT 1');
  assert.doesNotMatch(String(await client.query('SHOW fairlead.route')), /pinned/, 'it keeps no connection for that');
  const prepared = [parse(listening('one').replace("'one'", '$1')), bind('', { values: ['one'] }), execute(), sync];
  assert.deepEqual(rowsOf(await client.ask(...prepared)), [['t']]);
  await client.query('BEGIN');
  assert.equal(sqlStateOf(await client.ask(q(listening('one')))), '0A000');
  await client.query('ROLLBACK');
  await client.query('UNLISTEN one');
  assert.deepEqual(await client.query(listening('one')), [['f']]);
  // every notification came once: nothing is left to be told
  assert.doesNotMatch((await client.ask(q('SELECT 1'))).map(({ type }) => type).join(''), /A/);
  await client.end();
  await other.end();
});

// lib/pq and postgres.js wait for it: it was dropped when the listening connection was a little later than UNLISTEN
it('what was notified before UNLISTEN is told', async () => {
  const client = await RawClient.connect(fairlead.url);
  const other = await RawClient.connect(fairlead.url);
  for (let i = 0; i < 20; i++) {
    await client.query('LISTEN one');
    await other.query('NOTIFY one');
    // it may have come before
    const told = await client.ask(q('UNLISTEN one'));
    assert.match(told.map(({ type }) => type).join(''), /^ACZ$/);
    await other.query('NOTIFY one');
    assert.doesNotMatch((await client.ask(q('SELECT 1'))).map(({ type }) => type).join(''), /A/);
  }
  await client.end();
  await other.end();
});
