import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { SILENT } from '../../src/core/log.ts';
import { migrate } from '../../src/store/migrate.ts';
import { startTestCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { configOf, type ObservedCluster, observe } from '../support/observed-cluster.ts';
import { until } from '../support/wait.ts';

const KILL_STREAM = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fairlead-stream'`;

/** What the main thread has computed, in milliseconds: not what others take of the processor, where the system tells that. */
function computedMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return performance.now();
  }
}

describe('logical stream', () => {
  let cluster: TestCluster;
  let seen: ObservedCluster;
  let primary: TestNode;
  before(async () => {
    // a stream that held up a shutdown would do so for that long
    cluster = await startTestCluster({ replicas: 1, settings: { wal_sender_timeout: '60s' } });
    primary = cluster.node('pg1');
    await migrate(configOf(cluster), SILENT);
    seen = await observe(cluster);
  });
  after(async () => {
    await seen?.stop();
    await cluster?.stop();
  });

  const oidOf = async (table: string) =>
    (await primary.query<{ oid: number }>('SELECT $1::regclass::oid::int AS oid', [table]))[0]?.oid as number;

  it('tells updates and deletes of a table without a primary key, and never makes them fail', async () => {
    await primary.query('CREATE TABLE nokey (a int, b text)');
    await primary.query("INSERT INTO nokey VALUES (1, 'x')");
    await seen.untilTold();
    const before = seen.model.commits.commits;
    await primary.query("UPDATE nokey SET b = 'y'");
    await primary.query('DELETE FROM nokey');
    await seen.untilTold();
    assert.ok(seen.model.commits.commits >= before + 2);
  });

  it('knows which table changed, and that others did not', async () => {
    const { freshness } = seen.model;
    await primary.query('CREATE TABLE one (a int); CREATE TABLE two (a int)');
    const [one, two] = [await oidOf('one'), await oidOf('two')];
    // the first commits of a table make its name known
    await until(
      async () => {
        await primary.query('INSERT INTO one VALUES (1)');
        const position = await seen.untilTold();
        return freshness.lastChange(two) < freshness.lastChange(one) && freshness.lastChange(one) <= position;
      },
      { what: 'a change of table one alone' },
    );
    const quiet = freshness.lastChange(two);
    await primary.query('ALTER TABLE two ADD b int');
    await seen.untilTold();
    assert.ok(freshness.lastChange(two) > quiet);
  });

  it('survives the death of its connection between two commits', async () => {
    const { commits, freshness } = seen.model;
    for (let round = 0; round < 3; round++) {
      await primary.query('INSERT INTO one VALUES (2)');
      await primary.query(KILL_STREAM);
      await primary.query('INSERT INTO one VALUES (3)');
      const [row] = await primary.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      assert.ok(row);
      const position = await seen.untilTold();
      // commits of the gap are bounded by what the probes saw, and may have changed anything
      await until(() => commits.newestLsn >= position || commits.newestLsn >= freshness.asOf - 1024n, {
        what: 'the gap',
      });
      assert.ok(freshness.lastChange(999_999) > 0n);
    }
    await until(() => seen.replication.state.value.mode === 'streaming', { what: 'the stream' });
    const slots = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'fairlead%' AND temporary";
    await until(async () => (await primary.query(slots)).length === 1, { what: 'one slot only' });
  });

  it('reads a bulk load without holding up the main thread', async (t) => {
    await primary.query('CREATE TABLE bulk (a int, b text)');
    await seen.untilTold();
    const turnsMs: number[] = [];
    let lastMs = computedMs();
    const timer = setInterval(() => {
      const nowMs = computedMs();
      turnsMs.push(nowMs - lastMs);
      lastMs = nowMs;
    }, 1);
    await primary.query("INSERT INTO bulk SELECT g, repeat('x', 40) FROM generate_series(1, 200000) g");
    await seen.untilTold();
    clearInterval(timer);
    const p99Ms = turnsMs.sort((a, b) => a - b)[Math.floor(turnsMs.length * 0.99)] as number;
    t.diagnostic(`${turnsMs.length} turns of the event loop, 99 % of them below ${p99Ms.toFixed(1)} ms`);
    assert.ok(p99Ms < 20, `99 % of the turns of the event loop below ${p99Ms} ms`);
  });

  it('does not hold up a fast shutdown of the primary, and comes back with it', async () => {
    await primary.query('INSERT INTO one VALUES (4)');
    const startedMs = performance.now();
    await primary.stop('fast', 60_000);
    assert.ok(performance.now() - startedMs < 30_000, 'stopped at once');
    await primary.start();
    await until(() => seen.replication.state.value.mode === 'streaming', { what: 'the stream', timeoutMs: 30_000 });
  });
});

describe('where wal_level is not logical', () => {
  it('polls positions instead, and says what to do', async () => {
    const cluster = await startTestCluster({ replicas: 1, settings: { wal_level: 'replica' } });
    let seen: ObservedCluster | undefined;
    try {
      seen = await observe(cluster, 'polling');
      const { model, replication } = seen;
      assert.match(replication.state.value.lastError ?? '', /ALTER SYSTEM SET wal_level = 'logical'/);
      await until(() => model.lag('pg2')?.ms === 0, { what: 'no lag' });
      await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
      await cluster.node('pg1').query('CREATE TABLE t (a int)');
      await until(() => (model.lag('pg2')?.ms ?? 0) > 1500, { what: 'lag that grows' });
      await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
      await until(() => model.lag('pg2')?.ms === 0, { what: 'no lag after resume' });
    } finally {
      await seen?.stop();
      await cluster.stop();
    }
  });
});
