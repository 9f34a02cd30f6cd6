import type { LatencyCounts } from '../core/latency-histogram.ts';
import { Traffic } from '../frontend/traffic.ts';
import type { Overview } from './plane.ts';

/** Of a process without clients and server connections. */
const EMPTY = {
  sessions: { total: 0, active: 0, idle: 0, pinned: 0, waiting: 0, held: 0 },
  clients: 0,
  operators: 0,
  places: [],
  pools: [],
} as const;

/** Of a process that has done nothing yet. @param nodes names, in the order of `TopologyNode.index` */
export function noOverview(nodes: readonly string[]): Overview {
  return { ...EMPTY, counts: [], traffic: new Traffic(nodes).counts() };
}

/** What stays of a process that has ended: what it has counted, so that totals never fall. */
export function pastOf({ counts, traffic }: Overview): Overview {
  const past = ({ window, ...ever }: LatencyCounts): LatencyCounts => ({ ...ever, window: window.map(() => 0) });
  return {
    ...EMPTY,
    counts,
    traffic: {
      totals: traffic.totals,
      minute: traffic.minute.map(() => 0),
      recent: traffic.recent.map(() => 0),
      recentSeconds: traffic.recentSeconds,
      read: past(traffic.read),
      write: past(traffic.write),
      nodes: traffic.nodes.map(past),
    },
  };
}
