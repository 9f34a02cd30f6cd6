import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Observation } from '../../src/cluster/observation.ts';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection, closeAll } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

const MAX_LAG_MS = 1500;
const WATCHED_MS = 4000;
/** By so much what is known of the servers' clocks may change. */
const CLOCKS_MS = 200;

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
      const samples: Sample[] = [];
      const others: number[] = [];
      const { observations } = fairlead.app.cluster;
      const startedMs = performance.now();
      while (performance.now() - startedMs < WATCHED_MS || samples.length < 5) {
        const probe = observations.of('pg3').last as Observation;
        const lag = await lagNow();
        others.push(lag('pg2').ms);
        // it is as of the last probe
        if (observations.of('pg3').last === probe) samples.push({ probe, ms: lag('pg3').ms });
        await sleep(40);
      }
      const slope = slopeOf(samples.map(({ probe, ms }) => [probe.startedMs, ms]));
      const other = others.sort((a, b) => a - b)[others.length >> 1] as number;
      t.diagnostic(`slope ${slope.toFixed(3)} over ${samples.length} samples; the other replica: median ${other} ms`);
      assertInStep(samples);
      await until(async () => (await lagNow())('pg2').ms < 10, { what: 'the other replica without lag' });
      await until(async () => (await lagNow())('pg3').state === 'lagging', { what: 'it to be left' });
      const late = cluster.node('pg3').port;
      const wrong: number[] = [];
      const onlyTheOther = async () => {
        const ports = [...(await portsRead())];
        wrong.push(...ports.filter((port) => port === late));
        return String(ports) === String(cluster.node('pg2').port);
      };
      await until(onlyTheOther, { what: 'reads on the other replica only' });
      assert.deepEqual(wrong, []);

      await cluster.node('pg3').query('SELECT pg_wal_replay_resume()');
      await until(async () => (await portsRead()).size === 2, { what: 'reads on both replicas again' });
      const caughtUp = async () => {
        const { state, ms } = (await lagNow())('pg3');
        return state === 'up' && ms < 10;
      };
      await until(caughtUp, { what: 'no lag after the resume' });
    } finally {
      writing = false;
      await writes;
    }
  });
});

type Sample = { readonly probe: Observation; readonly ms: number };

/** The lag has grown by the time between the probes, however late they came. */
function assertInStep(samples: readonly Sample[]): void {
  const [first] = samples as [Sample];
  for (const { probe, ms } of samples.slice(1)) {
    const least = probe.startedMs - first.probe.finishedMs;
    const most = probe.finishedMs - first.probe.startedMs;
    const message = `${ms - first.ms} ms more lag within ${least} to ${most} ms`;
    assert.ok(ms - first.ms >= least - CLOCKS_MS && ms - first.ms <= most + CLOCKS_MS, message);
  }
}

/** Of the straight line that fits best. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const product = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return product / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}
