import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type ObservedCluster, observe } from '../support/observed-cluster.ts';
import { until } from '../support/wait.ts';

const GROWS_TO_MS = 2500;
/** By so much the estimates of the servers' clocks may be off. */
const CLOCKS_MS = 200;
/** Far less than from one probe to the next. */
const SOON_MS = 150;

describe('lag', () => {
  let cluster: TestCluster;
  let seen: ObservedCluster;
  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    seen = await observe(cluster);
    await cluster.node('pg1').query('CREATE TABLE t (a int)');
  });
  after(async () => {
    await seen?.stop();
    await cluster?.stop();
  });

  it('grows in step with the clock while replay is paused, and is zero again after', async () => {
    const { model } = seen;
    const ms = (node: string) => model.lag(node)?.ms ?? Number.NaN;
    await until(() => ms('pg2') === 0 && ms('pg3') === 0, { what: 'two replicas without lag' });
    // a heartbeat may be the first commit that is not replayed
    const pausedMs = performance.now();
    await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
    const committedMs = performance.now();
    await cluster.node('pg1').query('INSERT INTO t VALUES (1)');
    await until(() => ms('pg2') > 100, { what: 'lag of the paused replica' });
    const inStep = () => {
      // as of the last probe, whenever that was
      const last = model.observations.of('pg2').last as { startedMs: number; finishedMs: number };
      const [least, most] = [last.startedMs - committedMs, last.finishedMs - pausedMs];
      const lagMs = ms('pg2');
      const message = `${lagMs} ms of lag, the commit is ${least} to ${most} ms old`;
      assert.ok(lagMs <= most + CLOCKS_MS && lagMs >= least - CLOCKS_MS, message);
    };
    while (ms('pg2') < GROWS_TO_MS) {
      inStep();
      await sleep(100);
    }
    inStep();
    await until(() => ms('pg3') === 0, { what: 'the other replica without lag' });
    assert.ok(ms('pg2') >= GROWS_TO_MS);
    assert.ok((model.lag('pg2')?.bytes ?? 0) > 0);
    assert.equal(model.observations.of('pg2').last?.replayPaused, true);
    await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
    await until(() => ms('pg2') === 0 && model.lag('pg2')?.bytes === 0, { what: 'no lag after resume' });
  });

  it('is zero on an idle cluster', async () => {
    let inARow = 0;
    const remains = () => {
      const worst = Math.max(seen.model.lag('pg2')?.ms ?? Number.NaN, seen.model.lag('pg3')?.ms ?? Number.NaN);
      inARow = worst < 50 ? inARow + 1 : 0;
      if (inARow < 60) throw new Error(`${worst} ms, ${inARow} times below 50`);
      return true;
    };
    // on a machine that is busy with something else one of many looks may see some
    await until(remains, { what: 'no lag for three seconds', everyMs: 50, timeoutMs: 60_000 });
  });

  it('lets a read wait for the position of a write, within milliseconds', async (t) => {
    const { model } = seen;
    const { samples, waiters } = model;
    const waitsMs: number[] = [];
    for (let i = 0; i < 50; i++) {
      await cluster.node('pg1').query('INSERT INTO t VALUES (1)');
      const startedMs = performance.now();
      await new Promise<void>((wake) => samples.wait(samples.next, wake));
      const wanted = samples.lsn;
      while (model.replayLsn('pg2') < wanted) {
        await new Promise<void>((wake) => waiters.add({ lsn: wanted, wake }));
      }
      waitsMs.push(performance.now() - startedMs);
    }
    waitsMs.sort((a, b) => a - b);
    t.diagnostic(`median ${waitsMs[25]} ms`);
    assert.ok((waitsMs[25] as number) < SOON_MS, `median ${waitsMs[25]} ms`);
    assert.equal(waiters.size, 0);
  });
});
