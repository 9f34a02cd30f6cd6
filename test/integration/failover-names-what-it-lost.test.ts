/** Asynchronous replication: the primary acknowledges while no replica receives, and dies. What is lost then has to be said. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

type Lost = {
  kind: string;
  lost: { commits: number | null; unproven: number };
  details: { lostCommits: { tables: string[] }[] };
};

describe('failover names what it lost', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: '4s' } } });
    await untilServing(fairlead, 2);
  });

  after(async () => {
    for (const name of ['pg2', 'pg3']) await cluster?.node(name).thaw();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('lists the commits that the stream saw, counts those it did not, and warns the session', {
    timeout: 150_000,
  }, async () => {
    const notices: string[] = [];
    const client = new pg.Client(fairlead.url);
    client.on('notice', (notice) => notices.push(notice.message ?? ''));
    await client.connect();
    await client.query('CREATE TABLE lossy (id int)');
    await client.query('INSERT INTO lossy VALUES (0)');
    // both replicas have it: they may freeze now
    await until(
      async () => {
        const counts = ['pg2', 'pg3'].map((name) =>
          cluster.node(name).query<{ n: number }>('SELECT count(*)::int AS n FROM lossy'),
        );
        return (await Promise.all(counts)).every(([row]) => row?.n === 1);
      },
      { what: 'the first row on both replicas' },
    );
    await Promise.all(['pg2', 'pg3'].map((name) => cluster.node(name).freeze()));
    for (let id = 1; id <= 20; id++) await client.query('INSERT INTO lossy VALUES ($1)', [id]);
    await cluster.node('pg1').kill9();
    await Promise.all(['pg2', 'pg3'].map((name) => cluster.node(name).thaw()));

    const failover = await until(
      async () => {
        const { events } = (await (await fetch(`${fairlead.http}/api/events`)).json()) as { events: Lost[] };
        return events.find((event) => event.kind === 'failover');
      },
      { what: 'the failover', timeoutMs: 60_000 },
    );
    await client.query('INSERT INTO lossy VALUES (100)');
    const { rows } = await client.query<{ id: number }>('SELECT id FROM lossy');
    const there = new Set(rows.map((row) => row.id));
    const lost = Array.from({ length: 20 }, (_, i) => i + 1).filter((id) => !there.has(id));
    // what the kernel had taken for the frozen replicas before the kill may have survived
    assert.ok(lost.length <= (failover.lost.commits ?? 0) + failover.lost.unproven, JSON.stringify(failover.lost));
    if (lost.length > 0) {
      assert.ok(notices.some((notice) => notice.includes('may have lost')));
      for (const { tables } of failover.details.lostCommits)
        assert.ok(tables.length === 0 || tables.includes('public.lossy'));
    }
    await client.end();
  });
});
