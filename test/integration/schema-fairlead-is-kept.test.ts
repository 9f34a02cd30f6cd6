import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import pg from 'pg';
import { Cluster } from '../../src/cluster/cluster.ts';
import { configSchema, type NodeConfig, nodesOf } from '../../src/config/config.ts';
import { SILENT } from '../../src/core/log.ts';
import { lsn } from '../../src/core/lsn.ts';
import { preflight } from '../../src/monitor/preflight.ts';
import { closeDatabase, loginOf, openDatabase } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { Store } from '../../src/store/store.ts';
import { startTestCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { configOf } from '../support/observed-cluster.ts';
import { until } from '../support/wait.ts';

describe('schema fairlead', () => {
  let cluster: TestCluster;
  let primary: TestNode;
  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    primary = cluster.node('pg1');
  });
  after(async () => {
    await cluster?.stop();
  });

  it('is made once, when two start at the same time', async () => {
    const config = configOf(cluster);
    const reports = await Promise.all([migrate(config, SILENT), migrate(config, SILENT)]);
    const applied = reports.flatMap((r) => r.applied);
    assert.deepEqual(applied, ['0001-fairlead-schema', '0002-synchrony', '0003-recovered', 'ddl-marks']);
    assert.deepEqual((await migrate(config, SILENT)).applied, []);
    const findings = await preflight(config);
    assert.deepEqual(
      findings.filter((f) => f.level === 'error'),
      [],
    );
  });

  it('outlives a connection that breaks under a query', async () => {
    // pg tells the listeners of the connection besides the query: without one the process ended, at the death of a primary
    const through: net.Socket[] = [];
    const wire = net.createServer((socket) => {
      const server = net.connect({ host: primary.host, port: primary.port });
      for (const end of [socket, server]) end.on('error', () => {});
      socket.pipe(server).pipe(socket);
      through.push(socket, server);
    });
    await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve));
    const [node] = nodesOf(configOf(cluster));
    const { port } = wire.address() as net.AddressInfo;
    const db = openDatabase(loginOf(configOf(cluster), { ...(node as NodeConfig), host: '127.0.0.1', port }));
    try {
      const broken = assert.rejects(sql`SELECT pg_sleep(60)`.execute(db), /terminated unexpectedly/);
      const runs = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
      await until(async () => (await primary.query(runs)).length > 0, { what: 'the query' });
      for (const socket of through.splice(0)) socket.destroy();
      await broken;
      await sql`SELECT 1`.execute(db);
    } finally {
      await closeDatabase(db);
      wire.close();
    }
  });

  it('is refused to a role that may not, with the statement that helps', async () => {
    await primary.query(`CREATE ROLE weak LOGIN PASSWORD '${cluster.password}'`);
    const weak = configSchema.parse(inputOf(cluster, 'weak'));
    await assert.rejects(migrate(weak, SILENT), { code: 'refused', remedy: /^GRANT USAGE, CREATE ON SCHEMA fairlead/ });
    const errors = (await preflight(weak)).filter((f) => f.level === 'error');
    assert.ok(errors.some((f) => f.fix === 'ALTER ROLE "weak" REPLICATION'));
    assert.ok(errors.some((f) => f.fix === 'GRANT pg_monitor TO "weak"'));
    const wrong = configSchema.parse(inputOf(cluster, 'weak', 'wrong'));
    assert.ok((await preflight(wrong)).every((f) => f.level !== 'ok' && f.fix !== null));
  });

  it('lets every role run DDL, in any mood', async () => {
    await primary.query(`GRANT CREATE ON SCHEMA public TO weak`);
    const url = new URL(primary.url);
    url.username = 'weak';
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      for (const statement of [
        'CREATE TABLE w (a int)',
        'CREATE INDEX CONCURRENTLY w_a ON w (a)',
        'REINDEX TABLE CONCURRENTLY w',
        'CREATE TEMPORARY TABLE tmp (a int)',
        "SET search_path = ''",
        'ALTER TABLE public.w ADD b int',
        'DROP INDEX CONCURRENTLY public.w_a',
        'DROP TABLE public.w',
      ]) {
        await client.query(statement);
      }
    } finally {
      await client.end();
    }
  });

  it('gets what happened while there was no primary, and replicas have it', async () => {
    const config = configOf(cluster);
    const model = new Cluster(nodesOf(config), config.routing.max_lag);
    const store = new Store(model, { config, log: SILENT });
    store.start();
    try {
      const event = { kind: 'failover', message: 'pg1 promoted', node: 'pg1', detail: { lost: 0 }, atMs: Date.now() };
      await store.recordEvent(event);
      const epoch = {
        epoch: 3,
        primary: 'pg1',
        timeline: 1,
        systemId: 's',
        forkLsn: lsn(0x100000028n),
        atMs: Date.now(),
      };
      await assert.rejects(store.recordEpoch(epoch));
      model.assignment.set({ ...model.assignment.value, epoch: 3, primary: 'pg1', timeline: 1, phase: 'steady' });
      const read = async (text: string) => (await primary.query<{ n: number }>(text))[0]?.n;
      await until(async () => (await read('SELECT count(*)::int AS n FROM fairlead.events')) === 1, {
        what: 'the event',
      });
      await until(async () => (await store.latestEpoch('pg2'))?.epoch === 3, { what: 'the epoch on the replica' });
      assert.equal((await store.loadEpoch())?.forkLsn, 0x100000028n);
      assert.equal((await store.listEvents(10)).length, 1, 'memory and table are one list');
      await store.recordLagSamples([{ node: 'pg2', atMs: 1_000_000, lagMs: 1, lagBytes: 2 }]);
      await store.recordLagSamples([{ node: 'pg2', atMs: Date.now(), lagMs: 1.5, lagBytes: 2 }]);
      const history = await store.lagHistory(0, Date.now() + 1000, 'pg2');
      assert.deepEqual(
        history.map((s) => s.lagMs),
        [1.5],
        'what is older than a week was removed',
      );
    } finally {
      await store.stop();
    }
  });
});

function inputOf(cluster: TestCluster, user: string, password = cluster.password) {
  const nodes = Object.fromEntries(cluster.nodes.map((n) => [n.name, `${n.host}:${n.port}`]));
  return { cluster: { user, password, nodes } };
}
