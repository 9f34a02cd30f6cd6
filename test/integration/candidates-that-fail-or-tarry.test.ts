import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { ClusterWatch } from '../support/cluster-watch.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: single processes in containers are out of reach' : false;
/** One that does not answer for so long while it is promoted is given up. */
const LOST_MS = 3000;
/** Megabytes that are too far behind while replay is paused. */
const MUCH = 70;

describe('candidates that fail or take their time', { skip: SKIP, timeout: 250_000 }, () => {
  let cluster: TestCluster;
  let fairlead: Controlled;
  let watch: ClusterWatch;
  let second: string;
  let third: string;
  before(async () => {
    cluster = await startTestCluster({ replicas: 4 });
    // among equals the first of these
    const nodes = Object.fromEntries(['pg2', 'pg3', 'pg4', 'pg5'].map((name, i) => [name, { weight: 40 - i }]));
    fairlead = await startControlled(cluster, { failover: { timeout: 4000 }, nodes });
    watch = new ClusterWatch(cluster);
  });
  after(async () => {
    await watch?.stop();
    await fairlead?.stop();
    await cluster?.stop();
  });

  const assignment = () => fairlead.model.assignment.value;
  /** All replicas have received what that primary has written. */
  async function allReceived(primary: string, replicas: readonly string[]): Promise<void> {
    const [row] = await cluster.node(primary).query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const received = 'SELECT 1 WHERE pg_last_wal_receive_lsn() >= $1::pg_lsn';
    for (const name of replicas) {
      await until(async () => (await cluster.node(name).query(received, [row?.lsn])).length === 1, {
        what: `${name} to have received everything`,
        timeoutMs: 60_000,
      });
    }
  }
  /** Its process that replays and promotes stands still; everything else answers. @returns how it goes on */
  async function stall(name: string): Promise<() => void> {
    const startup = `SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'`;
    const [row] = await cluster.node(name).query<{ pid: number }>(startup);
    const pid = row?.pid as number;
    process.kill(pid, 'SIGSTOP');
    return () => void process.kill(pid, 'SIGCONT');
  }
  /** The one that was told to promote itself, whichever of those that stand equal it is. */
  async function promoting(): Promise<string> {
    await until(() => assignment().phase === 'promoting', { what: 'a promotion', timeoutMs: 60_000 });
    const name = assignment().reason.split(' ')[0] as string;
    // what tells it lies there until the process that stands still takes it away
    const told = "SELECT FROM pg_stat_file('promote', true) WHERE size IS NOT NULL";
    await until(async () => (await cluster.node(name).query(told)).length === 1, { what: `${name} to be told` });
    return name;
  }

  it('one whose paused replay is far behind is passed over; one that applies late has everything when it takes over', async () => {
    const pg1 = cluster.node('pg1');
    await pg1.query('CREATE TABLE kept (id int)');
    const pg3 = cluster.node('pg3');
    await untilReplayed(cluster, pg3);
    await pg3.query(`ALTER SYSTEM SET recovery_min_apply_delay = '1h'`);
    await pg3.query('SELECT pg_reload_conf()');
    // whoever comes in is told what the others have been told too
    const delayed = `SELECT WHERE current_setting('recovery_min_apply_delay') = '1h'`;
    await until(async () => (await pg3.query(delayed)).length === 1, { what: 'pg3 to apply late' });
    await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
    await pg1.query('INSERT INTO kept SELECT generate_series(1, 1000)');
    await pg1.query(
      `SELECT pg_logical_emit_message(false, 'fairlead-test', repeat('x', 1024 * 1024)) FROM generate_series(1, ${MUCH})`,
    );
    await allReceived('pg1', ['pg2', 'pg3', 'pg4', 'pg5']);
    assert.equal((await pg3.query('SELECT FROM kept LIMIT 1')).length, 0, 'or it does not apply late');
    await pg1.kill9();
    await fairlead.model.assignment.when(({ primary }) => primary === 'pg3');
    // else the change of primary would not end before it is given up
    await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
    await fairlead.steady('pg3', 60_000);
    const elected = (await fairlead.event('elected')).detail as { vetoes: { node: string; reason: string }[] };
    assert.match(elected.vetoes.find(({ node }) => node === 'pg2')?.reason ?? '', /replay is paused, \d+ bytes behind/);
    const [row] = await pg3.query<{ n: number }>('SELECT count(*)::int AS n FROM kept');
    assert.equal(row?.n, 1000);
    // as a replica again it is like the others
    await pg3.query('ALTER SYSTEM RESET recovery_min_apply_delay');
  });

  it('one that answers and is not done is waited for, and nobody else is promoted meanwhile', async () => {
    for (const name of ['pg2', 'pg4', 'pg5']) {
      await until(
        async () =>
          (await cluster.node(name).query(`SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'`)).length === 1,
        { what: `${name} to follow pg3`, timeoutMs: 60_000 },
      );
    }
    await allReceived('pg3', ['pg2', 'pg4', 'pg5']);
    const goOn = new Map<string, () => void>();
    for (const name of ['pg2', 'pg4', 'pg5']) goOn.set(name, await stall(name));
    await cluster.node('pg3').kill9();
    second = await promoting();
    for (const [name, go] of goOn) if (name !== second) go();
    await sleep(LOST_MS + 1000);
    assert.equal(assignment().phase, 'promoting');
    assert.deepEqual(
      fairlead.events.filter(({ kind }) => kind === 'promotion-failed'),
      [],
    );
    goOn.get(second)?.();
    await fairlead.steady(second, 60_000);
    assert.equal(assignment().timeline, 3);
  });

  it('one that dies on the way is given up for good, and the next one of those that stand still follows', async () => {
    const rest = ['pg2', 'pg4', 'pg5'].filter((name) => name !== second);
    await allReceived(second, rest);
    const goOn = new Map<string, () => void>();
    for (const name of rest) goOn.set(name, await stall(name));
    await cluster.node(second).kill9();
    const dying = await promoting();
    await cluster.node(dying).kill9();
    for (const [name, go] of goOn) if (name !== dying) go();
    third = rest.find((name) => name !== dying) as string;
    await fairlead.steady(third, 60_000);
    assert.match(
      (await fairlead.event('promotion-failed')).message,
      new RegExp(`${dying} could not be promoted: lost during promotion`),
    );
    assert.ok(assignment().fenced.has(dying));
    const { epoch, timeline } = assignment();
    assert.deepEqual({ epoch, timeline }, { epoch: 4, timeline: 4 });
    const [row] = await cluster.node(third).query<{ n: number }>('SELECT count(*)::int AS n FROM kept');
    assert.equal(row?.n, 1000);
    // it was told to promote itself: coming back it must not
    await cluster.node(dying).start();
    await until(() => fairlead.model.observations.of(dying).failure === null, {
      what: 'an answer of the one that died',
    });
    assert.deepEqual(await cluster.node(dying).query('SELECT pg_is_in_recovery() AS replica'), [{ replica: true }]);
    assert.equal(assignment().primary, third);
  });

  it('at no moment did two take writes, and each timeline had one writer', async () => {
    await until(() => watch.writersByTimeline().has(4), { what: 'a look at the last one' });
    await watch.stop();
    assert.deepEqual(watch.twoWriters(), []);
    const writers = [...watch.writersByTimeline()].map(([timeline, names]) => [timeline, [...names]]);
    assert.deepEqual(writers, [
      [1, ['pg1']],
      [2, ['pg3']],
      [3, [second]],
      [4, [third]],
    ]);
  });
});
