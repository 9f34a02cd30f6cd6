import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
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
  typesOf,
} from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

type Notification = { readonly pid: number; readonly channel: string; readonly payload: string };

function notificationOf({ body }: Message): Notification {
  const [channel, payload] = body.toString('utf8', 4).split('\0');
  return { pid: body.readInt32BE(0), channel: channel as string, payload: payload as string };
}

const notifications = (messages: readonly Message[]) => messages.filter((m) => m.type === 'A').map(notificationOf);
const payloads = (messages: readonly Message[]) => notifications(messages).map((n) => n.payload);

/** In transaction mode, with one listening connection for all. */
describe('notifications reach every listener', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open: RawClient[] = [];

  async function client(parameters: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    const one = await RawClient.connect(fairlead.url, parameters);
    open.push(one);
    return one;
  }
  /** The next notification. */
  async function heard(one: RawClient): Promise<Notification> {
    const m = await one.next();
    assert.equal(m.type, 'A');
    return notificationOf(m);
  }
  const notify = (channel: string, payload: string) =>
    cluster.node('pg1').query(`SELECT pg_notify($1, $2)`, [channel, payload]);
  const pins = async () =>
    (await show(fairlead.url, 'SHOW CLIENTS')).filter(
      (row) => row.pinned !== undefined && row.pinned !== '' && row.pinned !== null,
    );

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 2 }, failover: { timeout: '5s' } } });
    await untilServing(fairlead, 2);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('more listeners than server connections, each told once, in order', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => client()));
    for (const one of all) one.send(q('LISTEN news'));
    for (const one of all) assert.equal(typesOf(await one.untilReady()), 'C Z');
    const speaker = await client();
    await speaker.query("NOTIFY news, 'one'");
    await speaker.query("BEGIN; NOTIFY news, 'two'; NOTIFY news, 'three'; COMMIT");
    await notify('news', 'four');
    for (const one of all) {
      for (const payload of ['one', 'two', 'three', 'four']) {
        const n = await heard(one);
        assert.equal(n.payload, payload);
        if (payload !== 'four') assert.equal(n.pid, speaker.pid);
      }
    }
    const listening = await cluster
      .node('pg1')
      .query("SELECT FROM pg_stat_activity WHERE application_name = 'fairlead-listen'");
    assert.equal(listening.length, 1);
    for (const one of all) await one.end();
  });

  it('its own notification comes before the answer ends, with the pid it was told', async () => {
    const one = await client();
    await one.query('LISTEN own');
    for (let i = 0; i < 50; i++) {
      const answer = await one.ask(q(`NOTIFY own, '${i}'`));
      assert.equal(typesOf(answer), 'C A Z');
      assert.deepEqual(notifications(answer), [{ pid: one.pid, channel: 'own', payload: String(i) }]);
    }
    const both = await one.ask(q("BEGIN; LISTEN other; NOTIFY other, 'x'; COMMIT"));
    assert.deepEqual(payloads(both), ['x']);
    await one.end();
  });

  it('tells apart who notified, whoever used the server connection before', async () => {
    const listeners = await Promise.all([client(), client(), client()]);
    for (const one of listeners) await one.query('LISTEN who');
    const others = await Promise.all([client(), client(), client()]);
    const all = [...listeners, ...others];
    const rounds = 40;
    for (const one of all) for (let i = 0; i < rounds; i++) one.send(q(`NOTIFY who, '${one.pid}'`));
    for (const one of listeners) {
      const seen: Notification[] = [];
      while (seen.length < all.length * rounds) {
        const m = await one.next();
        if (m.type === 'A') seen.push(notificationOf(m));
      }
      for (const n of seen) {
        // between sessions that do not listen the pid is as good as known
        if (listeners.some((l) => l.pid === n.pid || String(l.pid) === n.payload))
          assert.equal(String(n.pid), n.payload);
      }
    }
    for (const one of all) await one.end();
  });

  it('takes effect at COMMIT, and is undone by ROLLBACK and ROLLBACK TO', async () => {
    const one = await client();
    for (const text of ['BEGIN', 'LISTEN a', 'SAVEPOINT s', 'LISTEN b', 'ROLLBACK TO s', 'LISTEN c', 'RELEASE s'])
      await one.query(text);
    await notify('a', 'too early');
    assert.equal(typesOf(await one.ask(q('COMMIT'))), 'C Z');
    for (const channel of ['a', 'b', 'c']) await notify(channel, channel);
    assert.deepEqual(payloads(await one.ask(q('SELECT 1'))), ['a', 'c']);
    assert.deepEqual(await one.query('SELECT pg_listening_channels()'), [['a'], ['c']]);
    for (const text of ['BEGIN', 'UNLISTEN a', 'LISTEN d', 'ROLLBACK']) await one.query(text);
    assert.deepEqual(await one.query('SELECT * FROM pg_listening_channels()'), [['a'], ['c']]);
    for (const text of ['BEGIN', 'UNLISTEN *', 'LISTEN d']) await one.query(text);
    await one.ask(q('SELECT 1 / 0'));
    assert.equal(sqlStateOf(await one.ask(q('LISTEN e'))), '25P02');
    await one.query('COMMIT');
    assert.deepEqual(await one.query('SELECT pg_listening_channels()'), [['a'], ['c']]);
    for (const text of ['BEGIN', 'UNLISTEN a', 'LISTEN d', 'COMMIT AND CHAIN']) await one.query(text);
    await notify('d', 'while a transaction is open');
    assert.deepEqual(await one.query('SELECT pg_listening_channels()'), [['c'], ['d']]);
    assert.deepEqual(payloads(await one.ask(q('ROLLBACK'))), ['while a transaction is open']);
    await one.query('UNLISTEN *');
    assert.deepEqual(await one.query('SELECT pg_listening_channels()'), []);
    await one.end();
  });

  it('gets nothing that was notified before its LISTEN, where others listen already', async () => {
    const first = await client();
    await first.query('LISTEN shared');
    for (let i = 0; i < 30; i++) {
      const second = await client();
      await notify('shared', `before ${i}`);
      await second.query('LISTEN shared');
      await notify('shared', `after ${i}`);
      assert.equal((await heard(second)).payload, `after ${i}`);
      assert.equal((await heard(first)).payload, `before ${i}`);
      assert.equal((await heard(first)).payload, `after ${i}`);
      await second.end();
    }
    await first.end();
  });

  it('waits for the end of a transaction, and stops at UNLISTEN and DISCARD ALL', async () => {
    const one = await client();
    await one.query('LISTEN w');
    await one.query('BEGIN');
    await notify('w', 'inside');
    assert.equal(typesOf(await one.ask(q('SELECT 1'))), 'T D C Z');
    assert.equal(typesOf(await one.ask(q('COMMIT'))), 'C A Z');
    await one.query('UNLISTEN w');
    await notify('w', 'late');
    assert.equal(typesOf(await one.ask(q('SELECT 1'))), 'T D C Z');
    await one.query('LISTEN w');
    await one.query('DISCARD ALL');
    await notify('w', 'late');
    assert.equal(typesOf(await one.ask(q('SELECT 1'))), 'T D C Z');
    await one.query('LISTEN w');
    await one.query('SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL');
    assert.deepEqual(await one.query('SELECT pg_listening_channels()'), []);
    await one.end();
  });

  it('extended protocol, names as PostgreSQL reads them', async () => {
    const one = await client();
    const listen = (text: string) => one.ask(parse(text), bind(), describePortal(), execute(), sync);
    assert.equal(typesOf(await listen('LISTEN "Mixed Case"')), '1 2 n C Z');
    assert.equal(typesOf(await listen('LISTEN FOLDED')), '1 2 n C Z');
    assert.deepEqual(rowsOf(await listen('SELECT pg_listening_channels()')), [['Mixed Case'], ['folded']]);
    await notify('Mixed Case', 'm');
    await notify('folded', 'f');
    assert.deepEqual(payloads(await one.ask(q('SELECT 1'))), ['m', 'f']);
    assert.equal(typesOf(await listen('UNLISTEN "Mixed Case"')), '1 2 n C Z');
    assert.equal(sqlStateOf(await listen('LISTEN ""')), '42601');
    assert.equal(sqlStateOf(await one.ask(q('LISTEN 1'))), '42601');
    // begun in the middle of a pipeline: on a server connection of its own
    const pipelined = await one.ask(parse('BEGIN'), bind(), execute(), parse('LISTEN piped'), bind(), execute(), sync);
    assert.equal(typesOf(pipelined), '1 2 C 1 2 C Z');
    await one.query('COMMIT');
    await notify('piped', 'p');
    await notify('folded', 'f');
    const seen = [await heard(one), await heard(one)].map((n) => n.payload).sort();
    assert.deepEqual(seen, ['f', 'p']);
    const long = await one.ask(q(`LISTEN ${'x'.repeat(70)}`));
    assert.equal(typesOf(long), 'N C Z');
    await notify('x'.repeat(63), 'long');
    assert.equal((await heard(one)).payload, 'long');
    assert.equal((await pins()).length >= 0, true);
    await one.end();
  });

  it('ends a client that does not read', async () => {
    const deaf = await client();
    await deaf.query('LISTEN flood');
    deaf.socket.pause();
    const payload = 'x'.repeat(7900);
    const speaker = await client();
    for (let i = 0; i < 30; i++)
      await speaker.query(`SELECT pg_notify('flood', '${payload}' || g) FROM generate_series(1, 200) g`);
    await until(async () => (await show(fairlead.url, 'SHOW CLIENTS')).every((row) => row.ptr !== String(deaf.pid)), {
      what: 'its end',
    });
    deaf.socket.resume();
    await until(() => deaf.ended, { what: 'the end of the connection' });
    assert.equal(sqlStateOf(deaf.waiting), '57P01');
    await speaker.end();
  });

  it('misses nothing in a planned switchover', async () => {
    const one = await client();
    const speaker = await client();
    await one.query('LISTEN moved');
    const heardOf: string[] = [];
    const answer = fetch(`${fairlead.http}/api/switchover`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    let moved = false;
    void answer.then(() => {
      moved = true;
    });
    const spoken: string[] = [];
    for (let i = 0; !moved || i < 20; i++) {
      await speaker.query(`NOTIFY moved, '${i}'`);
      spoken.push(String(i));
    }
    assert.equal((await answer).status, 200);
    while (heardOf.length < spoken.length) heardOf.push((await heard(one)).payload);
    assert.deepEqual(heardOf, spoken);
    await one.end();
    await speaker.end();
  });

  it('carries listeners over a failover, and hears the first write on the new primary', async () => {
    const one = await client();
    const speaker = await client();
    await one.query('LISTEN carried');
    await speaker.query("NOTIFY carried, 'before'");
    assert.equal((await heard(one)).payload, 'before');
    const { topology } = fairlead.app.cluster;
    const former = topology.value.primary?.name as string;
    await cluster.node(former).kill9();
    // until then an orphan of the killed postmaster may take the write, and tell of it
    await until(() => topology.value.primary?.name !== former, { what: 'the end of the primary' });
    const notified = () => speaker.query("NOTIFY carried, 'after'").then(() => true);
    await until(notified, { what: 'the first write on the new primary' });
    const m = await one.next();
    assert.equal(m.type, 'N');
    const n = await heard(one);
    assert.deepEqual(n, { pid: speaker.pid, channel: 'carried', payload: 'after' });
    assert.equal(typesOf(await one.ask(q("NOTIFY carried, 'own'"))), 'C A Z');
    await one.end();
    await speaker.end();
  });
});
