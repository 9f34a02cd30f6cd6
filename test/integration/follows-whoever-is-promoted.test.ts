import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { until } from '../support/wait.ts';

const PROBE_MS = 500;
/** Also on a machine that is busy with something else. */
const SLOW_MS = 10_000;

/** Somebody else fails over; here it is done by hand, as Patroni and its kin do it. */
describe('failover.mode: follow', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let client: pg.Client;
  let settings: ReadonlyMap<string, string>;

  /** What ALTER SYSTEM has left on each server that answers. */
  async function altered(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const node of cluster.nodes) {
      const rows = await node
        .query<{ text: string }>(`SELECT pg_read_file('postgresql.auto.conf') AS text`)
        .catch(() => []);
      for (const { text } of rows) found.set(node.name, text);
    }
    return found;
  }

  before(async () => {
    cluster = await startTestCluster();
    settings = await altered();
    fairlead = await startFairlead(cluster, {
      config: { failover: { mode: 'follow', timeout: 1500 } },
      cluster: { probe_interval: PROBE_MS },
    });
    const { topology } = fairlead.app.cluster;
    await until(() => topology.value.replicas.length === 2, { what: 'two replicas that serve reads' });
    client = new pg.Client({ connectionString: fairlead.url });
    await client.connect();
    await client.query('CREATE TABLE followed (id int)');
  });
  after(async () => {
    await client?.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  /** Promotes, and measures until a write that was held has come through on the new primary. */
  async function promoted(t: TestContext, name: string, id: number): Promise<void> {
    const writing = client.query('INSERT INTO followed VALUES ($1)', [id]);
    writing.catch(() => {});
    const startedMs = performance.now();
    await cluster.node(name).query('SELECT pg_promote()');
    const promotedMs = performance.now();
    await writing;
    const tookMs = performance.now() - promotedMs;
    t.diagnostic(
      `first write ${Math.round(tookMs)} ms after pg_promote had answered (${Math.round(promotedMs - startedMs)} ms)`,
    );
    assert.equal(fairlead.app.cluster.assignment.value.primary, name);
    assert.deepEqual(await cluster.node(name).query('SELECT id FROM followed WHERE id = $1', [id]), [{ id }]);
    assert.ok(tookMs < PROBE_MS + SLOW_MS, `took ${tookMs} ms`);
  }

  it('a switchover by hand: the primary is stopped, another one promoted, the third turned to it', async (t) => {
    await cluster.node('pg1').stop('fast');
    await promoted(t, 'pg2', 1);
    const source = new URL(cluster.node('pg2').url);
    const conninfo = `host=${source.hostname} port=${source.port} user=${source.username} password=${source.password} application_name=pg3`;
    const pg3 = cluster.node('pg3');
    await pg3.query(`ALTER SYSTEM SET primary_slot_name = ''`);
    await pg3.query(`ALTER SYSTEM SET primary_conninfo = '${conninfo}'`);
    await pg3.query('SELECT pg_reload_conf()');
    settings = new Map([...settings, ['pg3', (await altered()).get('pg3') as string]]);
    const behind = () => {
      const { state, reason } = fairlead.app.cluster.topology.value.byName.get('pg3') ?? {};
      if (state !== 'up') throw new Error(`${state}: ${reason}`);
      return true;
    };
    await until(behind, { what: 'pg3 behind pg2', timeoutMs: 60_000 });
  });

  it('a primary is killed and a replica promoted by hand: the same session goes on there', async (t) => {
    await cluster.node('pg2').kill9();
    const { assignment } = fairlead.app.cluster;
    await until(() => assignment.value.phase === 'suspect', { what: 'suspicion' });
    await promoted(t, 'pg3', 2);
  });

  it('the old primary comes back as it was: it gets no statement, and is not touched', async () => {
    await cluster.node('pg2').start();
    const { topology } = fairlead.app.cluster;
    await until(() => topology.value.byName.get('pg2')?.state === 'needs rejoin', { what: 'pg2 to be set aside' });
    for (let i = 10; i < 15; i++) await client.query('INSERT INTO followed VALUES ($1)', [i]);
    assert.deepEqual(await cluster.node('pg2').query('SELECT id FROM followed WHERE id >= 10'), []);
    const [row] = await cluster.node('pg2').query(`SELECT current_setting('default_transaction_read_only') AS value`);
    assert.deepEqual(row, { value: 'off' });
    await cluster.node('pg2').stop('fast');
  });

  it('no setting of any server was touched, and nobody may ask for a promotion', async () => {
    await cluster.node('pg1').start();
    await cluster.node('pg2').start();
    const now = await altered();
    for (const { name } of cluster.nodes) assert.equal(now.get(name), settings.get(name), name);
    const answer = await fetch(`${fairlead.http}/api/failover`, { method: 'POST' });
    assert.equal(answer.status, 409);
    assert.match(await answer.text(), /failover.mode is follow/);
  });
});
