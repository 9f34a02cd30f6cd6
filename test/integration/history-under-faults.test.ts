import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { type Historian, Historians } from '../support/historians.ts';
import { check } from '../support/history.ts';
import { httpGet } from '../support/http.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const many = (count: number, historian: Historian) => new Array<Historian>(count).fill(historian);
const SESSION: Historian = { consistency: 'session', level: 'session', writes: true };
const STRONG: Historian = { consistency: 'strong', level: 'strong', writes: false };

async function set(cluster: TestCluster, node: string, setting: string): Promise<void> {
  await cluster.node(node).query(`ALTER SYSTEM SET ${setting}`);
  await cluster.node(node).query('SELECT pg_reload_conf()');
}

/** Resolves when so many more were done. */
async function more(historians: Historians, reads: number, writes: number): Promise<void> {
  const [readsBefore, writesBefore] = [historians.reads, historians.acknowledged];
  const done = () => historians.reads >= readsBefore + reads && historians.acknowledged >= writesBefore + writes;
  await until(done, { what: `${reads} reads and ${writes} writes`, timeoutMs: 60_000 });
}

describe('what sessions read', () => {
  for (const workers of [1, 2]) {
    const served = workers === 1 ? 'one process' : `${workers} workers`;
    it(`keeps every promise while replicas lag, stop and die, and the primary is lost; ${served}`, {
      timeout: 280_000,
    }, async (t) => {
      const cluster = await startTestCluster();
      let fairlead: TestFairlead | null = null;
      try {
        fairlead = await startFairlead(cluster, { config: { workers, failover: { timeout: '4s' } } });
        await untilServing(fairlead, 2);
        // so that nothing is lost that was acknowledged, whoever is promoted; Fairlead's own stream does not count
        for (const { name } of cluster.nodes)
          await set(cluster, name, `synchronous_standby_names = 'ANY 1 (pg1, pg2, pg3)'`);
        const historians = await Historians.start(fairlead.url, [...many(8, SESSION), ...many(3, STRONG)]);
        await more(historians, 1000, 300);
        await set(cluster, 'pg3', `recovery_min_apply_delay = '100ms'`);
        await more(historians, 1000, 300);
        await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
        await more(historians, 500, 200);
        await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
        await cluster.node('pg3').kill9();
        await more(historians, 500, 200);
        await cluster.node('pg3').start();
        await set(cluster, 'pg3', 'recovery_min_apply_delay = 0');
        await untilServing(fairlead, 2);
        await more(historians, 500, 200);
        await cluster.node('pg1').kill9();
        await more(historians, 1000, 300);
        const { readsOnReplicasEver } = (await httpGet(`${fairlead.http}/api/traffic`)).body;
        await historians.stop();
        const { operations, readErrors } = historians;
        t.diagnostic(
          `${operations.length} operations, ${Math.round(readsOnReplicasEver * 100)} % of reads on replicas`,
        );
        assert.deepEqual(check(operations).slice(0, 5), []);
        assert.deepEqual(readErrors.slice(0, 5), []);
        assert.ok(readsOnReplicasEver > 0.1, 'or nothing was at stake');
      } finally {
        await fairlead?.stop();
        await cluster.stop();
      }
    });
  }

  it('breaks them without the look at positions, and the checker finds it', { timeout: 150_000 }, async () => {
    const cluster = await startTestCluster();
    const fairlead = await startFairlead(cluster, { config: { failover: { mode: 'off' } } });
    try {
      await untilServing(fairlead, 2);
      await set(cluster, 'pg3', `recovery_min_apply_delay = '100ms'`);
      const blind = { ...SESSION, consistency: 'eventual' } as const;
      const blindStrong = { ...STRONG, consistency: 'eventual' } as const;
      const historians = await Historians.start(fairlead.url, [...many(4, blind), ...many(2, blindStrong)]);
      await more(historians, 1000, 200);
      const broken = () => new Set(check(historians.operations).map(({ guarantee }) => guarantee));
      const all = () => {
        const found = broken();
        for (const guarantee of ['read-your-writes', 'monotonic reads', 'consistent prefix', 'strong'] as const) {
          assert.ok(found.has(guarantee), `${guarantee} was not found broken`);
        }
        return true;
      };
      await until(all, { what: 'all of them to be found broken', everyMs: 500 });
      await historians.stop();
      assert.ok(!broken().has('no ghosts'));
    } finally {
      await fairlead.stop();
      await cluster.stop();
    }
  });
});
