/**
 * A frozen primary comes back in the middle of the failover, with clients' statements in its buffers. What it still acknowledges must
 * reach nobody. (Its server connections used to live until the new primary was assigned.)
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

const WRITERS = 8;

describe('failover: the old primary thaws midway', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: '2s' } } });
    await untilServing(fairlead, 2);
  });

  after(async () => {
    await cluster?.node('pg1').thaw();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('loses no write that was acknowledged after the primary was given up', { timeout: 200_000 }, async () => {
    const acknowledged: { id: number; atMs: number }[] = [];
    const refused: string[] = [];
    let next = 0;
    let stop = false;
    const setup = new pg.Client(fairlead.url);
    await setup.connect();
    await setup.query('CREATE TABLE thaw (id int PRIMARY KEY)');
    const writers = Array.from({ length: WRITERS }, async () => {
      const client = new pg.Client(fairlead.url);
      client.on('error', (error) => refused.push(`closed: ${error.message}`));
      await client.connect();
      while (!stop) {
        const id = next++;
        try {
          await client.query('INSERT INTO thaw VALUES ($1)', [id]);
          acknowledged.push({ id, atMs: performance.now() });
        } catch (error) {
          refused.push((error as { code?: string }).code ?? String(error));
        }
        await sleep(1);
      }
      await client.end();
    });
    await until(() => acknowledged.length > 200, { what: 'writes' });

    const { app } = fairlead;
    const givenUp = new Promise<void>((resolve) => {
      const end = app.cluster.assignment.subscribe(({ phase }) => {
        if (phase !== 'electing' && phase !== 'promoting') return;
        end();
        resolve();
      });
    });
    await cluster.node('pg1').freeze();
    await givenUp;
    const givenUpMs = performance.now();
    await cluster.node('pg1').thaw();
    await until(
      () => app.cluster.topology.value.primary?.name !== undefined && app.cluster.assignment.value.epoch > 1,
      {
        what: 'a new primary',
        timeoutMs: 60_000,
      },
    );
    const resumedAt = acknowledged.length;
    await until(() => acknowledged.length > resumedAt + 200, { what: 'writes on the new primary', timeoutMs: 60_000 });
    stop = true;
    await Promise.all(writers);

    await setup.query("SET fairlead.consistency = 'primary'");
    const { rows } = await setup.query<{ id: number }>('SELECT id FROM thaw');
    await setup.end();
    const there = new Set(rows.map((row) => row.id));
    const lost = acknowledged.filter(({ id, atMs }) => atMs > givenUpMs && !there.has(id));
    assert.deepEqual(lost, []);
    for (const code of refused) assert.equal(code, '08007');
    assert.ok(refused.length <= WRITERS);
    assert.equal(app.cluster.assignment.value.primary === 'pg1', false);
  });
});
