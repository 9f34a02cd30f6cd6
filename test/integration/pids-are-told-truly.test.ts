import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import {
  bind,
  describeStatement,
  errorOf,
  execute,
  parse,
  q,
  RawClient,
  rowsOf,
  sqlStateOf,
  sync,
  typesOf,
} from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** The pid that a client is told at login, and those of server processes. */
describe('process ids', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open: RawClient[] = [];

  async function client(user?: string): Promise<RawClient> {
    const url = new URL(fairlead.url);
    if (user !== undefined) {
      url.username = user;
      url.password = user;
    }
    const one = await RawClient.connect(url.href);
    open.push(one);
    return one;
  }
  const asleep = (seconds: number) =>
    until(
      async () => {
        const text = `SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(${seconds})%' AND wait_event = 'PgSleep'`;
        return (await cluster.node('pg1').query(text)).length === 1;
      },
      { what: 'a statement under way' },
    );
  async function endOf(one: RawClient): Promise<{ sqlState: string; message: string }> {
    const error = (await one.untilType('E')).at(-1);
    await until(() => one.ended, { what: 'the end of the connection' });
    return errorOf(error as never);
  }
  const KILLED = { sqlState: '57P01', message: 'terminating connection due to administrator command' };
  const words = ({ sqlState, message }: { sqlState: string; message: string }) => ({ sqlState, message });

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    for (const user of ['ann', 'bob']) await cluster.node('pg1').query(`CREATE ROLE ${user} LOGIN PASSWORD '${user}'`);
    fairlead = await startFairlead(cluster, {
      auth: { users: { [cluster.superuser]: cluster.password, ann: 'ann', bob: 'bob' } },
    });
    await untilServing(fairlead, 1);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('are above those of processes, and unique', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => client()));
    assert.equal(new Set(all.map((one) => one.pid)).size, 20);
    for (const one of all) assert.ok(one.pid > 2 ** 22 && one.pid < 2 ** 31);
    for (const one of all) await one.end();
  });

  // in the server's words: the session went on, and drivers' tests with it
  it('a session may end itself, in a transaction or outside', async () => {
    const suicide = 'SELECT pg_terminate_backend(pg_backend_pid())';
    for (const before of ['SELECT 1', 'BEGIN']) {
      for (const bytes of [[q(suicide)], [parse(suicide), bind(), execute(), sync]]) {
        const one = await client();
        await one.ask(q(before));
        one.send(...bytes);
        assert.deepEqual(words(await endOf(one)), KILLED);
      }
    }
  });

  it('pg_terminate_backend ends the session that was told the pid', async () => {
    const killer = await client();
    for (const ask of [
      (pid: number) => killer.ask(q(`SELECT pg_terminate_backend(${pid})`)),
      (pid: number) => killer.ask(q(`select pg_catalog.pg_terminate_backend( '${pid}' ) as done;`)),
      (pid: number) =>
        killer.ask(parse('SELECT pg_terminate_backend($1)'), bind('', { values: [String(pid)] }), execute(), sync),
      (pid: number) => {
        const value = Buffer.alloc(4);
        value.writeInt32BE(pid);
        const bound = bind('', { values: [value], binaryValues: true });
        return killer.ask(parse('SELECT pg_terminate_backend($1::int)'), describeStatement(''), bound, execute(), sync);
      },
    ]) {
      const victim = await client();
      await victim.query('BEGIN');
      assert.deepEqual(rowsOf(await ask(victim.pid)), [['t']]);
      assert.deepEqual(words(await endOf(victim)), KILLED);
    }
    const busy = await client();
    const answer = busy.ask(q('SELECT pg_sleep(61)'));
    answer.catch(() => {});
    const asleepAnywhere = async () => {
      const found = await Promise.all(
        cluster.nodes.map((node) => node.query("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")),
      );
      return found.flat().length;
    };
    await until(async () => (await asleepAnywhere()) === 1, { what: 'a read under way' });
    assert.equal(await killer.value(`SELECT pg_terminate_backend(${busy.pid})`), 't');
    await assert.rejects(answer, /so far: E/);
    await until(async () => (await asleepAnywhere()) === 0, { what: 'the end of what it ran' });
    const own = await client();
    own.send(q(`SELECT pg_terminate_backend(${own.pid})`));
    assert.deepEqual(words(await endOf(own)), KILLED);
  });

  it('pg_cancel_backend cancels its statement', async () => {
    const killer = await client();
    const busy = await client();
    const answer = busy.ask(q('INSERT INTO pg_temp.x SELECT 1; SELECT pg_sleep(62)')).catch(() => {});
    await answer;
    const sleeping = busy.ask(q('/* fairlead: primary */ SELECT pg_sleep(62)'));
    await asleep(62);
    assert.equal(await killer.value(`SELECT pg_cancel_backend(${busy.pid})`), 't');
    assert.equal(sqlStateOf(await sleeping), '57014');
    assert.equal(await killer.value(`SELECT pg_cancel_backend(${busy.pid})`), 't');
    assert.deepEqual(rowsOf(await busy.ask(q('SELECT 1'))), [['1']]);
  });

  it('only one’s own role may, or a superuser', async () => {
    const [ann, ann2, bob] = [await client('ann'), await client('ann'), await client('bob')];
    assert.equal(sqlStateOf(await ann.ask(q(`SELECT pg_terminate_backend(${bob.pid})`))), '42501');
    assert.equal(sqlStateOf(await ann.ask(q(`SELECT pg_cancel_backend(${open[0]?.pid})`))), null);
    assert.equal(await ann.value(`SELECT pg_terminate_backend(${ann2.pid})`), 't');
    assert.deepEqual(words(await endOf(ann2)), KILLED);
    const superuser = await client();
    assert.equal(sqlStateOf(await ann.ask(q(`SELECT pg_cancel_backend(${superuser.pid})`))), '42501');
    await superuser.query('SET ROLE ann');
    assert.equal(sqlStateOf(await superuser.ask(q(`SELECT pg_cancel_backend(${bob.pid})`))), '42501');
    await superuser.query('RESET ROLE');
    assert.equal(await superuser.value(`SELECT pg_cancel_backend(${bob.pid})`), 't');
    // nobody's: the server says so
    const unknown = await superuser.ask(q('SELECT pg_terminate_backend(2147483646)'));
    assert.equal(typesOf(unknown), 'T N D C Z');
  });

  it('pg_backend_pid() names the process that stays, and its end is the session’s', async () => {
    const one = await client();
    const pid = await one.value('SELECT pg_backend_pid()');
    for (let i = 0; i < 5; i++) {
      const other = await client();
      await other.query('CREATE TABLE IF NOT EXISTS t (id int)');
      assert.equal(await one.value('SELECT pg_backend_pid()'), pid);
    }
    await cluster.node('pg1').query('SELECT pg_terminate_backend($1)', [pid]);
    assert.deepEqual(words(await endOf(one)), KILLED);
    const busy = await client();
    const process = await busy.value('SELECT pg_backend_pid()');
    const sleeping = busy.untilType('E');
    busy.send(q('SELECT pg_sleep(63)'));
    await asleep(63);
    await cluster.node('pg1').query('SELECT pg_terminate_backend($1)', [process]);
    assert.deepEqual(words(errorOf((await sleeping).at(-1) as never)), KILLED);
  });
});
