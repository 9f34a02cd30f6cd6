/** What several processes tell, as if it were one. */
import { type Counts, noCounts } from '../backend/database-counters.ts';
import type { PoolKey } from '../backend/pool.ts';
import type { PoolStatistics } from '../backend/pools.ts';
import { ClientCounts } from '../frontend/client-counts.ts';
import { sumOfTraffic } from '../frontend/traffic-snapshot.ts';
import type { Overview, PoolReport } from './plane.ts';

/** @param all never empty */
export function mergeOverviews(all: readonly Overview[]): Overview {
  const [first] = all as [Overview];
  if (all.length === 1) return first;
  return {
    sessions: all.map((one) => one.sessions).reduce(added),
    clients: all.reduce((sum, one) => sum + one.clients, 0),
    operators: all.reduce((sum, one) => sum + one.operators, 0),
    places: ClientCounts.of(all.flatMap((one) => one.places)).places(),
    pools: grouped(all.flatMap((one) => one.pools)).map((pools) => pools.reduce(mergedStatistics)),
    traffic: sumOfTraffic(all.map((one) => one.traffic)),
    counts: mergeCounts(all.flatMap((one) => one.counts)),
  };
}

export function mergePools(all: readonly PoolReport[]): PoolReport[] {
  return grouped(all).map((pools) => pools.reduce(mergedReports));
}

function mergeCounts(
  all: readonly (readonly [database: string, Readonly<Counts>])[],
): (readonly [database: string, Counts])[] {
  const sums = new Map<string, Counts>();
  for (const [database, counts] of all) sums.set(database, added(sums.get(database) ?? noCounts(), counts));
  return [...sums];
}

function mergedStatistics(a: PoolStatistics, b: PoolStatistics): PoolStatistics {
  return { ...added(a, b), maxWaitMs: Math.max(a.maxWaitMs, b.maxWaitMs) };
}

function mergedReports(a: PoolReport, b: PoolReport): PoolReport {
  return { ...added(a, b), longestWaitMs: Math.max(a.longestWaitMs, b.longestWaitMs), closing: a.closing || b.closing };
}

/** Pools of one node, purpose, database and user together. */
function grouped<P extends PoolKey>(pools: readonly P[]): P[][] {
  const groups = new Map<string, P[]>();
  for (const pool of pools) {
    const key = JSON.stringify([pool.node, pool.purpose, pool.database, pool.user]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [pool]);
    else group.push(pool);
  }
  return [...groups.values()];
}

/** Numbers of the same names are added, whatever else there is stays as in `a`. */
function added<T extends object>(a: T, b: Readonly<T>): T {
  const sum = { ...a } as Record<string, unknown>;
  for (const [key, value] of Object.entries(b)) {
    if (typeof value === 'number') sum[key] = (sum[key] as number) + value;
  }
  return sum as T;
}
