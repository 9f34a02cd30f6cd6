import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { until } from '../support/wait.ts';

const TIMEOUT_MS = 2000;
/** Also on a machine that is busy with something else. */
const SLOW_MS = 10_000;

/** TCP accepts, nothing answers, and the replicas' receivers stay "streaming" until their own timeout. */
describe('the primary hangs (SIGSTOP), and goes on later', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startControlled(cluster, { failover: { timeout: TIMEOUT_MS } });
    const tuned = () => fairlead.events.filter((e) => e.kind === 'settings-changed').length === 2 || null;
    await until(tuned, { what: 'wal_receiver_timeout on both replicas' });
  });
  after(async () => {
    await cluster?.node('pg1').thaw();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('promotes a replica as soon as the receivers have given up', async () => {
    const frozenMs = performance.now();
    await cluster.node('pg1').freeze();
    const moved = await fairlead.model.assignment.when((a) => a.primary !== null && a.primary !== 'pg1');
    const tookMs = performance.now() - frozenMs;
    assert.ok(tookMs < TIMEOUT_MS + SLOW_MS, `took ${tookMs} ms`);
    assert.equal(moved.epoch, 2);
    await fairlead.steady(moved.primary as string);
    await fairlead.event('repointed');
  });

  it('fences the old primary as soon as it goes on', async () => {
    const { primary } = fairlead.model.assignment.value;
    await cluster.node('pg1').thaw();
    await fairlead.event('fence-set');
    await assert.rejects(cluster.node('pg1').query('CREATE TABLE ghost ()'), { code: '25006' });
    const { topology } = fairlead.model;
    await until(() => topology.value.byName.get('pg1')?.state === 'needs rejoin', { what: 'pg1 to need a rejoin' });
    assert.equal(fairlead.model.assignment.value.primary, primary);
  });
});
