import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { until } from '../support/wait.ts';

const TIMEOUT_MS = 2000;
/** Also on a machine that is busy with something else. */
const SLOW_MS = 10_000;

describe('the primary is killed, and comes back later', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startControlled(cluster, { failover: { timeout: TIMEOUT_MS } });
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('adopts the one primary there is, with the first epoch', async () => {
    const { primary, epoch, timeline } = fairlead.model.assignment.value;
    assert.deepEqual({ primary, epoch, timeline }, { primary: 'pg1', epoch: 1, timeline: 1 });
    await fairlead.event('settings-changed');
    const settings = await until(
      async () => {
        const rows = await cluster
          .node('pg3')
          .query<{ setting: string }>('SELECT current_setting($1) AS setting', ['wal_receiver_timeout']);
        return rows[0]?.setting === '1333ms' ? rows[0] : null;
      },
      { what: 'wal_receiver_timeout at two thirds of failover.timeout' },
    );
    assert.equal(settings.setting, '1333ms');
  });

  it('promotes the most advanced replica soon after failover.timeout, and turns the other one to it', async () => {
    await cluster.node('pg1').query('CREATE TABLE kept (id int); INSERT INTO kept SELECT generate_series(1, 1000)');
    const pg3 = cluster.node('pg3');
    await until(async () => (await pg3.query('SELECT 1 FROM kept')).length === 1000, { what: 'pg3 to have the rows' });
    const killedMs = performance.now();
    await cluster.node('pg1').kill9();
    const moved = await fairlead.model.assignment.when((a) => a.primary !== null && a.primary !== 'pg1');
    const tookMs = performance.now() - killedMs;
    assert.equal(moved.epoch, 2);
    assert.equal(moved.timeline, 2);
    assert.ok(tookMs < TIMEOUT_MS + SLOW_MS, `took ${tookMs} ms`);
    const winner = moved.primary as string;
    await cluster.node(winner).query('INSERT INTO kept VALUES (1001)');
    assert.ok(moved.fenced.has('pg1'));

    await fairlead.steady(winner);
    const other = cluster.node(winner === 'pg2' ? 'pg3' : 'pg2');
    await until(async () => (await other.query('SELECT 1 FROM kept')).length === 1001, {
      what: 'the other replica to follow',
    });
    const slots = async () => {
      const active = await cluster.node(winner).query('SELECT slot_name FROM pg_replication_slots WHERE active');
      assert.deepEqual(active, [{ slot_name: other.name }]);
      return true;
    };
    await until(slots, { what: 'its slot in use' });
    const detail = (await fairlead.event('failover')).detail as Record<string, unknown>;
    assert.equal(detail.from, 'pg1');
    assert.equal(detail.to, winner);
    assert.equal(detail.oldTimeline, 1);
    assert.equal(detail.newTimeline, 2);
    assert.equal(fairlead.epochs.at(-1)?.epoch, 2);
  });

  it('fences the old primary when it returns, and names the WAL that only it has', async () => {
    const { primary, epoch } = fairlead.model.assignment.value;
    await cluster.node('pg1').start();
    await fairlead.event('fence-set');
    await assert.rejects(cluster.node('pg1').query('INSERT INTO kept VALUES (-1)'), { code: '25006' });
    const names = await cluster
      .node('pg1')
      .query<{ names: string }>(`SELECT current_setting('synchronous_standby_names') AS names`);
    assert.match(names[0]?.names ?? '', /^fairlead_fence_/);
    const node = await until(
      () => {
        const seen = fairlead.model.topology.value.byName.get('pg1');
        return seen?.state === 'needs rejoin' && /was primary of timeline 1/.test(seen.reason) ? seen : null;
      },
      { what: 'pg1 to need a rejoin' },
    );
    assert.match(node.reason, /replaced by timeline 2 at [0-9A-F]+\/[0-9A-F]+/);
    assert.equal(fairlead.model.assignment.value.primary, primary);
    assert.equal(fairlead.model.assignment.value.epoch, epoch);
  });

  it('comes to the same conclusion after a restart of Fairlead', async () => {
    const { primary } = fairlead.model.assignment.value;
    const { epochs } = fairlead;
    await fairlead.stop();
    fairlead = await startControlled(cluster, { failover: { timeout: TIMEOUT_MS }, epochs });
    const now = fairlead.model.assignment.value;
    assert.equal(now.primary, primary);
    assert.equal(now.epoch, 2);
    assert.equal(now.timeline, 2);
    assert.match(now.fenced.get('pg1')?.reason ?? '', /was primary of timeline 1, replaced by timeline 2/);
    assert.deepEqual(
      now.forks.map((f) => [f.parentTimeline, f.timeline, f.epoch]),
      [[1, 2, 2]],
    );
  });

  it('survives the death of the new primary too', async () => {
    const second = fairlead.model.assignment.value.primary as string;
    const third = second === 'pg2' ? 'pg3' : 'pg2';
    await fairlead.event('adopted');
    assert.equal(fairlead.events.filter((e) => e.kind === 'primary-changed').length, 0);
    await cluster.node(second).kill9();
    await fairlead.steady(third);
    assert.equal(fairlead.model.assignment.value.timeline, 3);
    assert.equal(fairlead.model.assignment.value.epoch, 3);
    await cluster.node(third).query('INSERT INTO kept VALUES (1002)');
  });
});
