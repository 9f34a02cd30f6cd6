import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection, closeAll } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { until } from '../support/wait.ts';

/** Everything that a session can be in the middle of, on the primary, when it dies; what each is told after. */
describe('sessions live through a failover', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open = new Map<string, Connection>();
  const pending = new Map<string, Promise<unknown>>();
  const session = (name: string) => open.get(name) as Connection;

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: '4s' } } });
    const { topology } = fairlead.app.cluster;
    await until(() => topology.value.replicas.length === 2, { what: 'two replicas that serve reads' });
    for (const name of [
      'settings',
      'idle',
      'open',
      'ending',
      'rolling',
      'failed',
      'read',
      'begun',
      'write',
      'commit',
      'pinned',
      'listening',
    ]) {
      open.set(name, await Connection.open(fairlead.url));
    }
    const idle = session('idle');
    await idle.rows('CREATE TABLE t (id int)');
    await idle.rows('CREATE TABLE nap AS SELECT 60 AS seconds');
    // a COMMIT that takes its time
    await idle.rows(
      "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'",
    );
    await idle.rows('CREATE TABLE slow (id int)');
    await idle.rows(
      'CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()',
    );
    await prepare();
    // what is acknowledged shall be there afterwards, asynchronous or not
    const [end] = await cluster.node('pg1').query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    for (const name of ['pg2', 'pg3']) {
      const replayed = () =>
        cluster.node(name).query<{ ok: boolean }>('SELECT pg_last_wal_replay_lsn() >= $1 AS ok', [end?.lsn]);
      await until(async () => (await replayed())[0]?.ok, { what: `${name} to have everything` });
    }
    await cluster.node('pg1').kill9();
  });
  after(async () => {
    await closeAll([...open.values()]);
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function prepare(): Promise<void> {
    const settings = session('settings');
    await settings.rows("SET statement_timeout = '12345ms'; SET application_name = 'survivor'");
    await settings.rows("SET search_path = pg_catalog, public; SET shop.customer = '42'");
    await settings.rows("SET fairlead.consistency = 'primary'");
    await settings.rows('SELECT $1::int + 1 AS n', [1], 'plus');
    await settings.rows('INSERT INTO t VALUES ($1)', [1], 'insert');

    for (const name of ['open', 'ending', 'rolling', 'failed']) {
      await session(name).rows('BEGIN');
      await session(name).rows('INSERT INTO t VALUES (2)');
    }
    await assert.rejects(session('failed').rows('SELECT 1 / 0'), { code: '22012' });
    await session('pinned').rows('SELECT pg_advisory_lock(7)');
    await session('listening').rows('LISTEN news');

    // asleep until the primary dies; where it runs again there is no reason for that any more
    const nap = 'pg_sleep((SELECT seconds FROM nap))';
    pending.set('read', session('read').rows(`/* fairlead: primary */ SELECT 1 AS one FROM ${nap}`));
    pending.set('write', outcome(session('write').rows('INSERT INTO t SELECT 3 FROM pg_sleep(60)')));
    await session('commit').rows('BEGIN');
    await session('commit').rows('INSERT INTO slow VALUES (1)');
    pending.set('commit', outcome(session('commit').rows('COMMIT')));
    await session('begun').rows('BEGIN');
    pending.set('begun', outcome(session('begun').rows('INSERT INTO t SELECT 4 FROM pg_sleep(60)')));
    const asleep = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await until(async () => (await cluster.node('pg1').query<{ n: number }>(asleep))[0]?.n === 4, {
      what: 'four statements under way',
    });
    await session('idle').rows('UPDATE nap SET seconds = 0');
  }
  /** What it failed with; handled from the start. */
  const outcome = (running: Promise<unknown>) =>
    running.then(
      () => 'done',
      (error: { code: string }) => error.code,
    );

  it('an idle one goes on as if nothing had happened', async () => {
    const idle = session('idle');
    await idle.rows('INSERT INTO t VALUES (5)');
    assert.equal((await idle.row<{ n: number }>('SELECT count(*)::int AS n FROM t WHERE id = 5')).n, 1);
    assert.notEqual(fairlead.app.cluster.topology.value.primary?.name, 'pg1');
  });

  it('settings, prepared statements and consistency are still there', async () => {
    const settings = session('settings');
    assert.equal((await settings.row('SHOW statement_timeout')).statement_timeout, '12345ms');
    assert.equal((await settings.row('SHOW application_name')).application_name, 'survivor');
    assert.equal((await settings.row('SHOW search_path')).search_path, 'pg_catalog, public');
    assert.equal((await settings.row("SELECT current_setting('shop.customer') AS customer")).customer, '42');
    assert.equal((await settings.row('SHOW fairlead.consistency'))['fairlead.consistency'], 'primary');
    assert.equal((await settings.row('SELECT $1::int + 1 AS n', [2], 'plus')).n, 3);
    await settings.rows('INSERT INTO t VALUES ($1)', [6], 'insert');
    const route = await settings.row('SHOW fairlead.route');
    assert.equal(route.node, fairlead.app.cluster.topology.value.primary?.name);
  });

  it('a transaction is lost: 40001, then 25P02 until ROLLBACK', async () => {
    const lost = session('open');
    await assert.rejects(lost.rows('SELECT 1'), { code: '40001' });
    await assert.rejects(lost.rows('INSERT INTO t VALUES (2)'), { code: '25P02' });
    await assert.rejects(lost.rows('SELECT $1::int', [1], 'one'), { code: '25P02' });
    await lost.rows('ROLLBACK');
    await lost.rows('BEGIN');
    await lost.rows('INSERT INTO t VALUES (7)');
    await lost.rows('COMMIT');
    assert.equal((await lost.row<{ n: number }>('SELECT count(*)::int AS n FROM t WHERE id = 2')).n, 0);
  });

  it('a COMMIT that is told so, or a ROLLBACK, ends it', async () => {
    const ending = session('ending');
    await assert.rejects(ending.rows('COMMIT'), { code: '40001' });
    await ending.rows('INSERT INTO t VALUES (11)');
    await session('rolling').rows('ROLLBACK');
    await session('rolling').rows('INSERT INTO t VALUES (12)');
  });

  it('so is one with a statement under way, and one that had failed before', async () => {
    assert.equal(await pending.get('begun'), '40001');
    const begun = session('begun');
    await assert.rejects(begun.rows('SELECT 1'), { code: '25P02' });
    await begun.rows('ROLLBACK');
    await begun.rows('INSERT INTO t VALUES (8)');

    const failed = session('failed');
    await assert.rejects(failed.rows('SELECT 1'), (error: { code: string }) => /^(40001|25P02)$/.test(error.code));
    await failed.rows('ROLLBACK');
    await failed.rows('INSERT INTO t VALUES (9)');
  });

  it('a COMMIT or a write under way has an unknown outcome: 08007', async () => {
    for (const name of ['commit', 'write']) {
      assert.equal(await pending.get(name), '08007', name);
      await session(name).rows('INSERT INTO t VALUES (10)');
    }
  });

  it('a read under way runs again', async () => {
    assert.deepEqual(await pending.get('read'), [{ one: 1 }]);
  });

  it('a session whose state was in the connection ends with FATAL 57P01', async () => {
    const ended = await until(() => session('pinned').lost, { what: 'the end of the session' });
    assert.match(ended, /^57P01 /);
  });

  it('and no other session was closed', async () => {
    for (const [name, connection] of open) {
      if (name === 'pinned') continue;
      assert.equal(connection.lost, null, name);
      assert.equal((await connection.row('SELECT 1 AS one')).one, 1);
    }
  });
});
