import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { lsn } from '../../src/core/lsn.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { whileReplayIsPaused } from '../support/paused-replay.ts';
import { RawClient } from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** The router is broken on purpose: it believes that replicas are anywhere. */
function breakRouter({ app: { cluster } }: TestFairlead): () => void {
  const { position } = cluster.observations;
  cluster.observations.position = () => ({ lsn: lsn(1n << 60n), askedMs: 0, answeredMs: 0 });
  return () => {
    cluster.observations.position = position;
  };
}

describe('the auditor', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open: RawClient[] = [];

  before(async () => {
    // what autovacuum commits counts as a change of anything until it is looked into
    cluster = await startTestCluster({ replicas: 1, settings: { autovacuum: 'off' } });
    await cluster.node('pg1').query('CREATE TABLE a (id int); CREATE TABLE b (id int)');
    // in one process: the broken part is reached from here
    fairlead = await startFairlead(cluster, {
      config: { workers: 1, failover: { mode: 'off' }, routing: { audit: 1 } },
    });
    await untilServing(fairlead, 1);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function connect(): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url);
    open.push(client);
    return client;
  }

  const nodeOf = async (client: RawClient) => (await client.records('SHOW fairlead.route'))[0]?.node;
  const audit = () => fairlead.app.cluster.audit;

  async function untilTablesAreKnown(client: RawClient): Promise<void> {
    const known = async () => {
      await client.query('INSERT INTO a VALUES (0)');
      await client.query('INSERT INTO b VALUES (0)');
      const tables = (await show(fairlead.url, 'SHOW FRESHNESS')).map((row) => row.table);
      return tables.includes('public.a') && tables.includes('public.b');
    };
    await until(known, { what: 'tables that are known' });
  }

  it('finds nothing while positions are gone by', async () => {
    const client = await connect();
    await untilTablesAreKnown(client);
    // a read for which the replica is late runs on the primary, and is not audited
    const audited = async () => {
      await client.query('INSERT INTO a VALUES (1)');
      await client.query('SELECT count(*) FROM a');
      return audit().passed >= 40;
    };
    await until(audited, { what: 'reads on the replica', everyMs: 0, timeoutMs: 60_000 });
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await client.query('INSERT INTO a VALUES (1)');
      // right after the write the stream may not have told yet what was written
      const onReplica = async () => {
        await client.query('SELECT count(*) FROM b');
        return (await nodeOf(client)) === 'pg2';
      };
      await until(onReplica, { what: 'a read on the replica' });
      for (let i = 0; i < 10; i++) await client.query('SELECT count(*) FROM b');
      assert.equal(await nodeOf(client), 'pg2');
    });
    await until(() => audit().passed >= 50, { what: 'audited reads' });
    assert.equal(audit().violations, 0);
    const [row] = await show(fairlead.url, 'SHOW AUDIT');
    assert.equal(row?.violations, '0');
    assert.ok(Number(row?.passed) >= 50);
  });

  it('finds stale reads of a router that is broken, and only those', async () => {
    const client = await connect();
    await untilTablesAreKnown(client);
    const before = { violations: audit().violations };
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await client.query('INSERT INTO a VALUES (1)');
      const mend = breakRouter(fairlead);
      try {
        await client.query('SELECT count(*) FROM a');
        assert.equal(await nodeOf(client), 'pg2', 'it is broken');
        await until(() => audit().violations === before.violations + 1, { what: 'the violation' });
        assert.match(audit().last?.why ?? '', /a commit of public\.a/);
        // whatever was read before it is decided too
        const { passed } = audit();
        await client.query('SELECT count(*) FROM pg_class');
        await until(() => audit().violations === before.violations + 2, { what: 'the second violation' });
        assert.match(audit().last?.why ?? '', /had not replayed what the session must see/);
        await client.query('SELECT count(*) FROM b');
        await until(() => audit().passed === passed + 1, { what: 'the read that saw everything' });
      } finally {
        mend();
      }
    });
    assert.equal(audit().violations, before.violations + 2);
    const metrics = await (await fetch(`${fairlead.http}/metrics`)).text();
    assert.match(metrics, /^fairlead_audited_reads_total\{result="violation"\} 2$/m);
    const told = async () => (await (await fetch(`${fairlead.http}/api/events`)).text()).includes('audit-violation');
    await until(told, { what: 'the event' });
  });
});
