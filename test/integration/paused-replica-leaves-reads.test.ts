import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection, closeAll } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

const MAX_LAG_MS = 1500;

describe('a replica whose replay is paused', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let writer: Connection;
  let reader: Connection;

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startFairlead(cluster, { config: { routing: { max_lag: MAX_LAG_MS } } });
    writer = await Connection.open(fairlead.url);
    reader = await Connection.open(fairlead.url);
    await writer.rows('CREATE TABLE t (n int)');
    // nothing but max_lag keeps such a read away from a replica
    await reader.rows("SET fairlead.consistency = 'eventual'");
    await until(async () => (await portsRead()).size === 2, { what: 'reads on both replicas' });
  });
  after(async () => {
    await closeAll([writer, reader].filter((connection) => connection !== undefined));
    await fairlead?.stop();
    await cluster?.stop();
  });

  /** Where 20 reads in a row ran. */
  async function portsRead(): Promise<Set<number>> {
    const ports = new Set<number>();
    for (let n = 0; n < 20; n++) {
      ports.add((await reader.row<{ port: number }>('SELECT inet_server_port() AS port')).port);
    }
    return ports;
  }
  async function lagOf(answer: Promise<{ body: Json }>): Promise<(name: string) => { state: string; ms: number }> {
    const { nodes } = (await answer).body;
    return (name) => {
      const node = nodes.find((n: { name: string }) => n.name === name);
      return { state: node.state, ms: node.lag.ms };
    };
  }
  const lagNow = () => lagOf(httpGet(`${fairlead.http}/api/lag`));

  it('falls behind in step with the clock, loses its reads, and comes back by itself', async (t) => {
    let writing = true;
    const writes = (async () => {
      while (writing) {
        await writer.rows('INSERT INTO t VALUES (1)');
        await sleep(20);
      }
    })();
    try {
      await cluster.node('pg3').query('SELECT pg_wal_replay_pause()');
      await until(async () => (await lagNow())('pg3').ms > 100, { what: 'lag of the paused replica' });
      const samples: { at: number; paused: number; other: number }[] = [];
      const startedMs = performance.now();
      while (performance.now() - startedMs < 4000) {
        const lag = await lagNow();
        samples.push({ at: performance.now(), paused: lag('pg3').ms, other: lag('pg2').ms });
        await sleep(40);
      }
      const slope = slopeOf(samples.map(({ at, paused }) => [at, paused]));
      const other = samples.map((sample) => sample.other).sort((a, b) => a - b)[samples.length >> 1] as number;
      t.diagnostic(`slope ${slope.toFixed(3)} over ${samples.length} samples; the other replica: median ${other} ms`);
      assert.ok(slope > 0.9 && slope < 1.1, `${slope} ms of lag per ms`);
      assert.ok(other < 10, `the other replica: median ${other} ms`);
      assert.equal((await lagNow())('pg3').state, 'lagging');
      assert.deepEqual([...(await portsRead())], [cluster.node('pg2').port]);

      await cluster.node('pg3').query('SELECT pg_wal_replay_resume()');
      await until(async () => (await portsRead()).size === 2, { what: 'reads on both replicas again' });
      await until(async () => (await lagNow())('pg3').ms < 10, { what: 'no lag after the resume' });
      assert.equal((await lagNow())('pg3').state, 'up');
    } finally {
      writing = false;
      await writes;
    }
  });
});

/** Of the straight line that fits best. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const product = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return product / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}
