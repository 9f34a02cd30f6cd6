import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type ObservedCluster, observe } from '../support/observed-cluster.ts';
import { until } from '../support/wait.ts';

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
    let worstOther = 0;
    for (let i = 0; i < 30; i++) {
      // as of the last probe: at most one interval and a bit ago
      const nowMs = performance.now();
      const lagMs = ms('pg2');
      const message = `${lagMs} ms of lag, the commit is ${nowMs - committedMs} ms old`;
      assert.ok(lagMs <= nowMs - pausedMs + 5 && lagMs > nowMs - committedMs - 800, message);
      worstOther = Math.max(worstOther, ms('pg3'));
      await sleep(100);
    }
    assert.ok(ms('pg2') > 2000);
    assert.ok(worstOther < 100, `the other replica: ${worstOther} ms`);
    assert.ok((model.lag('pg2')?.bytes ?? 0) > 0);
    assert.equal(model.observations.of('pg2').last?.replayPaused, true);
    await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
    await until(() => ms('pg2') === 0 && model.lag('pg2')?.bytes === 0, { what: 'no lag after resume' });
  });

  it('is zero on an idle cluster', async () => {
    let worst = 0;
    for (let i = 0; i < 60; i++) {
      worst = Math.max(worst, seen.model.lag('pg2')?.ms ?? Number.NaN, seen.model.lag('pg3')?.ms ?? Number.NaN);
      await sleep(50);
    }
    assert.ok(worst < 50, `${worst} ms`);
  });

  it('lets a read wait for the position of a write, within milliseconds', async () => {
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
    assert.ok((waitsMs[25] as number) < 50, `median ${waitsMs[25]} ms`);
    assert.equal(waiters.size, 0);
  });
});
