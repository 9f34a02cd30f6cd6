import { Cluster } from '../../src/cluster/cluster.ts';
import type { NodeConfig } from '../../src/config/config.ts';
import { nowMs } from '../../src/core/clock.ts';
import { lsn } from '../../src/core/lsn.ts';
import { Causality } from '../../src/routing/causality.ts';
import { type ReadRequest, routeRead } from '../../src/routing/route-read.ts';
import type { Cost } from './cost.ts';
import { nanosecondsPer } from './stopwatch.ts';

const NODES = [2, 16, 64];
const POSITION = lsn(0x1000n);

/** Where a read goes, per decision. */
export function routingCosts(forMs: number): Cost[] {
  return NODES.flatMap((count) => {
    const cluster = clusterOf(count);
    const loads = new Map(cluster.nodes.map(({ name }, i) => [name, i % 3]));
    const load = (node: string) => loads.get(node) ?? 0;
    const cost = (how: string, request: Partial<ReadRequest>): Cost => {
      const whole: ReadRequest = { ...REQUEST, causality: causality(), ...request };
      const decision = routeRead(whole, cluster, load);
      if (decision.kind !== 'node') throw new Error(`routing: a read has to ${decision.kind}`);
      const body = () => {
        routeRead(whole, cluster, load);
      };
      return { operation: `route: ${how}, ${count} nodes`, ns: nanosecondsPer(forMs, body) };
    };
    return [
      cost('eventual', { consistency: 'eventual' }),
      cost('session', {}),
      cost('session, at most 5 s stale', { maxStalenessMs: 5000 }),
    ];
  });
}

const REQUEST: Omit<ReadRequest, 'causality'> = {
  consistency: 'session',
  maxStalenessMs: null,
  hint: null,
  strongSample: 0,
  waited: false,
  waitOver: false,
  avoid: null,
  replicaReason: null,
  tables: null,
};

/** Of a session that has written what all have replayed. */
function causality(): Causality {
  const written = new Causality();
  written.timeline = 1;
  written.floor = POSITION;
  return written;
}

/** A primary and replicas that have caught up. */
function clusterOf(count: number): Cluster {
  const nodes = Array.from({ length: count }, (_, i): NodeConfig => {
    const tls = { mode: 'disable', ca: null, cert: null, key: null, cleartext_password: 'encrypted' } as const;
    return { name: `pg${i + 1}`, host: '127.0.0.1', port: 5432, tls, zone: null, weight: 1, promotable: true };
  });
  const cluster = new Cluster(nodes, { ms: 10_000, bytes: null });
  const steady = { epoch: 1, primary: 'pg1', timeline: 1, phase: 'steady', reason: 'as the benchmark says' } as const;
  cluster.assignment.set(Object.freeze({ ...cluster.assignment.value, ...steady }));
  for (const { name } of nodes) {
    const at = nowMs();
    cluster.observations.record({
      node: name,
      sequence: 1,
      startedMs: at,
      finishedMs: at,
      role: name === 'pg1' ? 'primary' : 'replica',
      systemId: '1',
      timeline: 1,
      version: 180004,
      replayLsn: POSITION,
      receiveLsn: POSITION,
      replayPaused: false,
      receiver: null,
      clockOffsetMs: 0,
      walLevel: 'logical',
      readOnly: false,
    });
  }
  return cluster;
}
