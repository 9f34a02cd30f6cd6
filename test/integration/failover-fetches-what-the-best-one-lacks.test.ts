/** The most advanced replica may not be promoted: the one that may gets its WAL first, and nothing is lost. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { processesOf } from '../../src/embedded/postgres-processes.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

/** More than fits into the sockets between two servers. */
const ROWS = 200_000;
const BULK = `CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 8) AS filler FROM generate_series(1, ${ROWS}) n`;

const CASES = [
  { how: 'asynchronous', replication: undefined, paused: false },
  { how: 'synchronous', replication: { mode: 'sync', copies: 1 }, paused: false },
  { how: 'asynchronous, and replay of the other one is paused', replication: undefined, paused: true },
] as const;

for (const { how, replication, paused } of CASES) {
  describe(`a replica that is not promotable is ahead when the primary dies, ${how}`, () => {
    let cluster: TestCluster;
    let fairlead: TestFairlead;

    before(async () => {
      cluster = await startTestCluster();
      const nodes = cluster.nodes.map(({ name, host, port }) => [
        name,
        { address: `${host}:${port}`, promotable: name !== 'pg2' },
      ]);
      fairlead = await startFairlead(cluster, {
        config: { failover: { timeout: '3s' }, ...(replication === undefined ? {} : { replication }) },
        cluster: { nodes: Object.fromEntries(nodes), probe_interval: '200ms', probe_timeout: '700ms' },
      });
      const { topology, synchrony } = fairlead.app.cluster;
      await until(() => topology.value.replicas.length === 2, { what: 'two replicas that serve reads' });
      if (replication === undefined) return;
      await until(() => synchrony.value?.state === 'confirmed', { what: 'a follower that counts', timeoutMs: 60_000 });
    });
    after(async () => {
      await cluster?.node('pg3').thaw();
      await fairlead?.stop();
      await cluster?.stop();
    });

    it('promotes the other one with every commit', { timeout: 140_000 }, async (t) => {
      const [pg1, pg2, pg3] = ['pg1', 'pg2', 'pg3'].map((name) => cluster.node(name));
      if (paused) await pg3?.query('SELECT pg_wal_replay_pause()');
      await pg3?.freeze();
      await pg1?.query(BULK);
      const has = async () => (await pg2?.query<{ n: number }>('SELECT count(*)::int AS n FROM bulk'))?.[0]?.n === ROWS;
      await until(has, { what: 'pg2 to have the rows', timeoutMs: 60_000 });
      const [row] = (await pg1?.query<{ data: string }>(`SELECT current_setting('data_directory') AS data`)) ?? [];
      await pg1?.kill9();
      // an orphan of the killed postmaster would go on sending
      if (cluster.backend === 'embedded')
        await until(() => processesOf(row?.data ?? '').length === 0, { what: 'the end of pg1' });
      await pg3?.thaw();
      const { assignment } = fairlead.app.cluster;
      const steady = () => assignment.value.phase === 'steady' && assignment.value.primary === 'pg3';
      await until(steady, { what: 'pg3 to be the primary', timeoutMs: 60_000 });
      const rows = await pg3?.query<{ n: number }>('SELECT count(*)::int AS n FROM bulk');
      assert.equal(rows?.[0]?.n, ROWS);
      await pg3?.query('INSERT INTO bulk VALUES (0)');
      await until(async () => (await pg2?.query('SELECT FROM bulk WHERE n = 0'))?.length === 1, {
        what: 'pg2 to follow',
      });
      const events = (await httpGet(`${fairlead.http}/api/events?limit=1000`)).body.events as Json[];
      const message = events.find(({ kind }) => kind === 'fast-forward')?.message;
      assert.match(message, /^pg3 fetches from pg2 what it lacks up to [0-9A-F]+\/[0-9A-F]+$/);
      t.diagnostic(`${message}; ${events.find(({ kind }) => kind === 'failover')?.message}`);
      const settings = await pg3?.query(
        `SELECT FROM pg_settings WHERE name = 'primary_conninfo' AND setting LIKE '%fairlead:%'`,
      );
      assert.equal(settings?.length, 0);
    });
  });
}
