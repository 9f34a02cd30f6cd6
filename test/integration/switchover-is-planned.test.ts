import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { runCommandLine } from '../support/command-line.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, httpPost, type Json } from '../support/http.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

describe('a switchover is looked at, put off, taken back, and made', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let client: Connection;
  let other: Connection;

  const open = async () => {
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: 10_000, hold: '60s' } } });
    await untilServing(fairlead, 2);
    [client, other] = [await Connection.open(fairlead.url), await Connection.open(fairlead.url)];
  };
  const close = async () => {
    await client?.close();
    await other?.close();
    await fairlead?.stop();
  };
  const assignment = () => fairlead.app.cluster.assignment.value;
  const switchover = (...args: readonly string[]) => runCommandLine(['switchover', ...args, '--http', fairlead.http]);
  const events = async (kind: string): Promise<Json[]> => {
    const { body } = await httpGet(`${fairlead.http}/api/events`);
    return body.events.filter((event: Json) => event.kind === kind);
  };
  /** What a switchover changes on the servers. */
  const settings = () =>
    Promise.all(
      cluster.nodes.map((node) =>
        node.query(`SELECT name, setting, applied FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' ORDER BY 1`),
      ),
    );

  before(async () => {
    cluster = await startTestCluster();
    await open();
    await client.rows('CREATE TABLE kept (id int PRIMARY KEY)');
  });
  after(async () => {
    await close();
    await cluster?.stop();
  });

  it('the plan names target, steps and what they would wait for, and changes nothing', async () => {
    const { epoch } = assignment();
    const untouched = await settings();
    await client.rows('BEGIN');
    await client.rows('INSERT INTO kept VALUES (1)');
    const { code, stdout } = await switchover('--plan', '--to', 'pg3', '--wait', '2s');
    await client.rows('COMMIT');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^pg1 hands over to pg3: it was asked for$/m);
    assert.match(stdout, /^ {2}not pg2: pg3 was asked for$/m);
    assert.match(stdout, /wait: transactions may end within 2 s, .*open now: 1, the oldest for \d/);
    assert.match(stdout, /pg2 follows pg3/);
    assert.match(stdout, /pg1 stays fenced until `fairlead rejoin pg1`/);
    assert.match(stdout, /^nothing was changed$/m);
    assert.deepEqual(await settings(), untouched);
    assert.deepEqual([assignment().epoch, assignment().primary], [epoch, 'pg1']);
    assert.deepEqual(await events('fencing'), []);
  });

  it('the plan of one that would be refused says why, with exit code 1', async () => {
    const { code, stderr } = await switchover('--plan', '--to', 'pg1');
    assert.equal(code, 1);
    assert.match(stderr, /it would be refused: pg1 is the primary already/);
  });

  it('under way it is taken back while a transaction holds it up: everything goes on, and reads never stopped', async () => {
    await client.rows('BEGIN');
    await client.rows('INSERT INTO kept VALUES (2)');
    const { body: before } = await httpGet(`${fairlead.http}/api/cluster`);
    await other.rows('INSERT INTO kept VALUES (10)');
    const made = httpPost(`${fairlead.http}/api/switchover`, { to: 'pg2', wait: '55s' });
    await until(() => assignment().phase === 'fencing', { what: 'the switchover to have begun' });
    // it has just written, and the primary alone knows how far: what it must see is asked of whoever hands over
    const read = await other.rows('SELECT id FROM kept WHERE id = 10');
    assert.deepEqual(read, [{ id: 10 }]);
    const { node } = await other.row<{ node: string }>('SHOW fairlead.route');
    assert.notEqual(node, 'pg1');
    const held = other.rows('INSERT INTO kept VALUES (3)');
    let answered = false;
    void held.then(() => {
      answered = true;
    });
    await until(async () => (await httpGet(`${fairlead.http}/api/cluster`)).body.holding !== null, { what: 'a hold' });
    assert.equal(answered, false);
    assert.equal(assignment().primary, null);
    const { code, stdout, stderr } = await switchover('--cancel');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /pg1 takes writes again/);
    const { status, body } = await made;
    assert.deepEqual([status, body.error], [409, 'an operator cancelled it']);
    await held;
    await client.rows('COMMIT');
    assert.deepEqual(
      await client.rows('SELECT id FROM kept ORDER BY 1'),
      [1, 2, 3, 10].map((id) => ({ id })),
    );
    assert.deepEqual([assignment().primary, assignment().timeline], ['pg1', before.timeline]);
    assert.match((await events('switchover-cancelled'))[0].message, /given up: an operator cancelled it/);
    const none = await switchover('--cancel');
    assert.equal(none.code, 1);
    assert.match(none.stderr, /no switchover is scheduled or under way/);
  });

  it('a read waits for a replica while nobody takes writes, however long that takes', async () => {
    await client.rows('BEGIN');
    await client.rows('INSERT INTO kept VALUES (20)');
    await untilReplayed(cluster, cluster.node('pg2'));
    for (const name of ['pg2', 'pg3']) await cluster.node(name).query('SELECT pg_wal_replay_pause()');
    await other.rows('INSERT INTO kept VALUES (21)');
    const made = httpPost(`${fairlead.http}/api/switchover`, { to: 'pg2', wait: '55s' });
    await until(() => assignment().phase === 'fencing', { what: 'the switchover to have begun' });
    const read = other.rows('SELECT id FROM kept WHERE id = 21');
    const held = async () => (await httpGet(`${fairlead.http}/api/traffic`)).body.sessions.held;
    await until(async () => (await held()) === 1, { what: 'the read to be held' });
    for (const name of ['pg2', 'pg3']) await cluster.node(name).query('SELECT pg_wal_replay_resume()');
    assert.deepEqual(await read, [{ id: 21 }]);
    assert.equal(assignment().primary, null, 'it is still under way');
    assert.equal((await switchover('--cancel')).code, 0);
    assert.equal((await made).status, 409);
    await client.rows('ROLLBACK');
    await other.rows('DELETE FROM kept WHERE id = 21');
  });

  it('one that is scheduled is shown, outlives a restart of Fairlead, and is taken back', async () => {
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const { stdout } = await switchover('--at', at, '--to', 'pg3');
    assert.equal(stdout.trim(), `scheduled for ${at}, to pg3`);
    const again = await switchover('--in', '1h');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /scheduled already/);
    const stored = `SELECT 1 FROM fairlead.events WHERE kind = 'switchover-scheduled'`;
    await until(async () => (await cluster.node('pg1').query(stored)).length === 1, { what: 'it to be on record' });
    await close();
    await open();
    const shown = async () => (await runCommandLine(['status', '--http', fairlead.http])).stdout;
    await until(async () => (await shown()).includes(`switchover to pg3 at ${at}`), { what: 'it to be found again' });
    assert.equal((await switchover('--cancel')).code, 0);
    assert.doesNotMatch(await shown(), /switchover/);
  });

  it('is made when its time has come, and refused then where it cannot be', async () => {
    await switchover('--in', '300ms', '--to', 'pg2');
    await until(() => assignment().primary === 'pg2' && assignment().phase === 'steady', {
      what: 'pg2 to be the primary',
    });
    const [made] = await until(
      async () => {
        const found = await events('switchover');
        return found.length > 0 ? found : null;
      },
      { what: 'the event' },
    );
    assert.deepEqual(Object.keys(made.details.steps), [
      ...['transactions', 'fence', 'stop', 'catch up', 'prepare', 'promote'],
    ]);
    await client.rows('INSERT INTO kept VALUES (4)');
    await switchover('--in', '300ms', '--to', 'pg1');
    const [refused] = await until(
      async () => {
        const found = await events('switchover-refused');
        return found.length > 0 ? found : null;
      },
      { what: 'a refusal' },
    );
    assert.match(refused.message, /was not made, and is not tried again: .*pg1/);
    assert.equal(assignment().primary, 'pg2');
  });

  it('a transaction that outlasts the wait is lost, and told so; nothing that was acknowledged is', async () => {
    await until(() => fairlead.app.cluster.topology.value.replicas.some(({ name }) => name === 'pg3'), { what: 'pg3' });
    await client.rows('BEGIN');
    await client.rows('INSERT INTO kept VALUES (5)');
    const { status, body } = await httpPost(`${fairlead.http}/api/switchover`, { wait: '200ms' });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.primary, 'pg3');
    await assert.rejects(client.rows('INSERT INTO kept VALUES (6)'), { code: '40001' });
    await client.rows('ROLLBACK');
    await client.rows('INSERT INTO kept VALUES (7)');
    const ids = (await client.rows<{ id: number }>('SELECT id FROM kept ORDER BY 1')).map(({ id }) => id);
    assert.deepEqual(ids, [1, 2, 3, 4, 7, 10]);
  });
});
