import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { makesSteward } from '../support/steward.ts';
import { until } from '../support/wait.ts';

/** From PostgreSQL 15 on the role is not a superuser: it may do what can be granted, and not read server files. */
describe('failover with the least privileges', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;

  before(async () => {
    cluster = await startTestCluster();
    await cluster.node('pg1').query(makesSteward(cluster.major));
    const known = async () =>
      (await cluster.node('pg3').query(`SELECT FROM pg_roles WHERE rolname = 'steward'`)).length === 1;
    await until(known, { what: 'the role on pg3' });
    fairlead = await startControlled(
      { ...cluster, superuser: 'steward', password: 'p' },
      { failover: { timeout: '2.5s' } },
    );
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('promotes, repoints, finds the fork and fences', async () => {
    await fairlead.event('settings-changed');
    await cluster.node('pg1').kill9();
    const { primary } = await fairlead.model.assignment.when((a) => a.timeline === 2);
    await fairlead.steady(primary as string);
    await fairlead.event('repointed');
    const history = fairlead.model.assignment.value.forks;
    assert.deepEqual([history.length, history[0]?.parentTimeline, history[0]?.timeline], [1, 1, 2]);
    await cluster.node('pg1').start();
    await fairlead.event('fence-set');
    assert.deepEqual(
      fairlead.events.filter((e) => /-failed|incomplete|unfit/.test(e.kind)),
      [],
    );
  });

  it('a Fairlead that starts where there is no primary promotes one too', async () => {
    const second = fairlead.model.assignment.value.primary as string;
    const third = second === 'pg2' ? 'pg3' : 'pg2';
    const { epochs } = fairlead;
    await fairlead.stop();
    await cluster.node('pg1').stop('immediate');
    await cluster.node(second).kill9();
    const options = { failover: { timeout: '2.5s' }, epochs, adopted: false };
    fairlead = await startControlled({ ...cluster, superuser: 'steward', password: 'p' }, options);
    await fairlead.steady(third);
    assert.equal(fairlead.model.assignment.value.timeline, 3);
    assert.equal(fairlead.model.assignment.value.epoch, 3);
    await cluster.node(third).query('CREATE TABLE taken ()');
  });
});
