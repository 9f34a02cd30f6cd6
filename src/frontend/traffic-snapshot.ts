/** What the counts of traffic come to, for people: rates, shares and quantiles. */
import { type LatencyCounts, quantilesOf, sumOfLatencies } from '../core/latency-histogram.ts';
import { REPLICA_REASONS, ROUTE_REASONS, type RouteReason } from '../routing/decision.ts';

export const TRAFFIC_CLASSES = ['read', 'write', 'other'] as const;
export type TrafficClass = (typeof TRAFFIC_CLASSES)[number];

/** A counter since the start, and its rate now (mean of the last ten seconds). */
export type Rate = { readonly total: number; readonly perSecond: number };

/** Milliseconds over the sliding minute; null while nothing was measured. */
export type Quantiles = {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
};

/** Statements of one class that went to one node for one reason. `share` is of all reads of the last minute; null for other classes. */
export type Flow = Rate & {
  readonly node: string;
  readonly class: TrafficClass;
  readonly reason: RouteReason;
  readonly onReplica: boolean;
  readonly share: number | null;
};

export type NodeTraffic = Rate & {
  readonly name: string;
  readonly reads: Rate;
  readonly writes: Rate;
  /** Share of the reads of the last minute; null when there were none. */
  readonly readShare: number | null;
  readonly latencyMs: Quantiles;
};

export type TrafficSnapshot = {
  readonly windowMs: number;
  readonly statements: Rate;
  readonly reads: Rate;
  readonly writes: Rate;
  readonly errors: Rate;
  readonly retries: Rate;
  /** Share of the reads of the last minute that replicas served, 0 to 1; null when there were none. */
  readonly readsOnReplicas: number | null;
  /** The same since the start. */
  readonly readsOnReplicasEver: number | null;
  readonly latencyMs: { readonly read: Quantiles; readonly write: Quantiles };
  readonly nodes: readonly NodeTraffic[];
  /** Only those that ever happened. */
  readonly flows: readonly Flow[];
};

/**
 * What was counted, as plain numbers: those of several processes add up. Each array holds errors, retries, then the flows by
 * (node × reason × class): one that is shorter knows fewer nodes.
 */
export type TrafficCounts = {
  /** Since the start. */
  readonly totals: Float64Array;
  /** In the last minute. */
  readonly minute: Float64Array;
  /** In the last `recentSeconds`. */
  readonly recent: Float64Array;
  readonly recentSeconds: number;
  readonly read: LatencyCounts;
  readonly write: LatencyCounts;
  /** In the order of `TopologyNode.index`. */
  readonly nodes: readonly LatencyCounts[];
};

export const WINDOW_SECONDS = 60;
export const RATE_SECONDS = 10;
const QUANTILES = [0.5, 0.95, 0.99, 0.999] as const;
const CLASSES = TRAFFIC_CLASSES.length;
const REASONS = ROUTE_REASONS.length;
const CLASS_INDEX: Readonly<Record<TrafficClass, number>> = { read: 0, write: 1, other: 2 };
const REASON_INDEX = Object.fromEntries(ROUTE_REASONS.map((r, i) => [r, i])) as Readonly<Record<RouteReason, number>>;

/** Where errors and retries are counted; the flows follow. */
export const ERRORS = 0;
export const RETRIES = 1;
const FLOWS = 2;

/** How many things are counted. */
export function counterCount(nodes: number): number {
  return FLOWS + nodes * REASONS * CLASSES;
}

/** Where a flow is counted. */
export function flowIndex(node: number, statementClass: TrafficClass, reason: RouteReason): number {
  return FLOWS + (node * REASONS + REASON_INDEX[reason]) * CLASSES + CLASS_INDEX[statementClass];
}

/** All of them together; never empty. One that knows fewer nodes has counted nothing for the others. */
export function sumOfTraffic(all: readonly TrafficCounts[]): TrafficCounts {
  const [first] = all as [TrafficCounts];
  if (all.length === 1) return first;
  const added = (of: (counts: TrafficCounts) => Float64Array) => {
    const sum = new Float64Array(Math.max(...all.map((one) => of(one).length)));
    for (const one of all) {
      of(one).forEach((value, i) => {
        sum[i]! += value;
      });
    }
    return sum;
  };
  return {
    totals: added((c) => c.totals),
    minute: added((c) => c.minute),
    recent: added((c) => c.recent),
    // one that has just begun has counted for a shorter time, but the others have not
    recentSeconds: Math.max(...all.map((c) => c.recentSeconds)),
    read: sumOfLatencies(all.map((c) => c.read)),
    write: sumOfLatencies(all.map((c) => c.write)),
    nodes: Array.from({ length: Math.max(...all.map((c) => c.nodes.length)) }, (_, node) =>
      sumOfLatencies(all.flatMap((c) => c.nodes[node] ?? [])),
    ),
  };
}

/** @param names of the nodes, in the order of `TopologyNode.index` */
export function trafficSnapshot(counts: TrafficCounts, names: readonly string[]): TrafficSnapshot {
  const { totals, minute, recent, recentSeconds } = counts;
  const flows = flowKeys(names.length);
  const sum = (of: Float64Array, passes: (f: FlowKey) => boolean): number => {
    let all = 0;
    for (const flow of flows) if (passes(flow)) all += of[flow.index] ?? 0;
    return all;
  };
  const rate = (passes: (f: FlowKey) => boolean): Rate => {
    return { total: sum(totals, passes), perSecond: sum(recent, passes) / recentSeconds };
  };
  const at = (i: number): Rate => ({ total: totals[i] ?? 0, perSecond: (recent[i] ?? 0) / recentSeconds });
  const reads = sum(minute, isRead);
  return {
    windowMs: WINDOW_SECONDS * 1000,
    statements: rate(() => true),
    reads: rate(isRead),
    writes: rate((f) => f.class === 'write'),
    errors: at(ERRORS),
    retries: at(RETRIES),
    readsOnReplicas: share(sum(minute, isReplicaRead), reads),
    readsOnReplicasEver: share(sum(totals, isReplicaRead), sum(totals, isRead)),
    latencyMs: { read: latencies(counts.read), write: latencies(counts.write) },
    nodes: names.map((name, node) => ({
      name,
      ...rate((f) => f.node === node),
      reads: rate((f) => f.node === node && isRead(f)),
      writes: rate((f) => f.node === node && f.class === 'write'),
      readShare: share(
        sum(minute, (f) => f.node === node && isRead(f)),
        reads,
      ),
      latencyMs: latencies(counts.nodes[node] ?? sumOfLatencies([])),
    })),
    flows: flows
      .filter((f) => (totals[f.index] ?? 0) > 0)
      .map((f) => ({
        node: names[f.node] as string,
        class: f.class,
        reason: f.reason,
        onReplica: REPLICA_REASONS.has(f.reason),
        ...at(f.index),
        share: isRead(f) ? share(minute[f.index] as number, reads) : null,
      })),
  };
}

type FlowKey = {
  readonly index: number;
  readonly node: number;
  readonly reason: RouteReason;
  readonly class: TrafficClass;
};

/** They are the same as long as no node joins. */
let allFlows: readonly FlowKey[] = [];

function flowKeys(nodes: number): readonly FlowKey[] {
  const count = nodes * REASONS * CLASSES;
  if (allFlows.length !== count) allFlows = Array.from({ length: count }, (_, flow) => flowKey(flow));
  return allFlows;
}

function flowKey(flow: number): FlowKey {
  return {
    index: FLOWS + flow,
    node: Math.floor(flow / (REASONS * CLASSES)),
    reason: ROUTE_REASONS[Math.floor(flow / CLASSES) % REASONS] as RouteReason,
    class: TRAFFIC_CLASSES[flow % CLASSES] as TrafficClass,
  };
}

function isRead(flow: FlowKey): boolean {
  return flow.class === 'read';
}

function isReplicaRead(flow: FlowKey): boolean {
  return isRead(flow) && REPLICA_REASONS.has(flow.reason);
}

function share(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

function latencies(counts: LatencyCounts): Quantiles {
  const [p50, p95, p99, p999] = quantilesOf(counts, QUANTILES) as [number, number, number, number];
  return { p50, p95, p99, p999 };
}
