import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { makesSteward } from '../support/steward.ts';
import { until } from '../support/wait.ts';

/** The same role as for failover, and replicas that nobody named: they all show up as `walreceiver`. */
describe('synchronous replication with the least privileges', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;

  before(async () => {
    cluster = await startTestCluster();
    await cluster.node('pg1').query(makesSteward(cluster.major));
    for (const name of ['pg2', 'pg3']) {
      const node = cluster.node(name);
      const known = async () => (await node.query(`SELECT FROM pg_roles WHERE rolname = 'steward'`)).length === 1;
      await until(known, { what: `the role on ${name}` });
      const [row] = await node.query<{ conninfo: string }>(`SELECT current_setting('primary_conninfo') AS conninfo`);
      const nameless = (row?.conninfo ?? '').replace(/application_name=\S+/, '').replaceAll("'", "''");
      await node.query(`ALTER SYSTEM SET primary_conninfo = '${nameless}'`);
      await node.query('SELECT pg_reload_conf()');
    }
    const nameless = `SELECT FROM pg_stat_replication WHERE application_name = 'walreceiver' AND state = 'streaming'`;
    await until(async () => (await cluster.node('pg1').query(nameless)).length === 2, { what: 'nameless replicas' });
    fairlead = await startControlled(
      { ...cluster, superuser: 'steward', password: 'p' },
      { failover: { timeout: '1.5s' }, replication: { mode: 'quorum' } },
    );
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('names the followers, makes them count, and fails over to one that has everything', async () => {
    const { synchrony } = fairlead.model;
    const counted = (names: string) =>
      until(() => synchrony.value?.state === 'confirmed' && String(synchrony.value.guarantee?.[0]?.nodes) === names, {
        what: `${names} to count`,
        timeoutMs: 40_000,
      });
    await counted('pg2,pg3');
    const told = fairlead.events.filter((event) => /application_name = pg\d in primary_conninfo/.test(event.message));
    assert.equal(told.length, 2);
    await cluster.node('pg1').query('CREATE TABLE kept ()');
    await cluster.node('pg1').kill9();
    const { primary } = await fairlead.model.assignment.when((a) => a.timeline === 2);
    await counted(primary === 'pg2' ? 'pg3' : 'pg2');
    await cluster.node(primary as string).query('SELECT FROM kept');
    assert.deepEqual(
      fairlead.events.filter((e) => /-failed|incomplete|unfit|lost|degraded/.test(e.kind)),
      [],
    );
  });
});
