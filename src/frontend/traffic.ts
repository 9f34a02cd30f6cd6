/** What went where, why and how long it took. The frontend writes on the hot path, API and console read. */
import { nowMs } from '../core/clock.ts';
import { LatencyHistogram } from '../core/latency-histogram.ts';
import { REPLICA_REASONS, ROUTE_REASONS, type RouteReason } from '../routing/decision.ts';
import { TrafficWindow } from './traffic-window.ts';

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

const WINDOW_SECONDS = 60;
const RATE_SECONDS = 10;
const QUANTILES = [0.5, 0.95, 0.99, 0.999] as const;
const CLASSES = TRAFFIC_CLASSES.length;
const REASONS = ROUTE_REASONS.length;
const CLASS_INDEX: Readonly<Record<TrafficClass, number>> = { read: 0, write: 1, other: 2 };
const REASON_INDEX = Object.fromEntries(ROUTE_REASONS.map((r, i) => [r, i])) as Readonly<Record<RouteReason, number>>;

export class Traffic {
  readonly #names: readonly string[];
  readonly #flows: readonly FlowKey[];
  /** Flows by (node × reason × class), then errors, then retries. */
  readonly #totals: Float64Array;
  readonly #window: TrafficWindow;
  readonly #errors: number;
  readonly #retries: number;
  readonly #read = new LatencyHistogram();
  readonly #write = new LatencyHistogram();
  readonly #nodes: readonly LatencyHistogram[];

  /** @param nodeNames in the order of `TopologyNode.index` */
  constructor(nodeNames: readonly string[], startedMs = nowMs()) {
    this.#names = nodeNames;
    this.#errors = nodeNames.length * REASONS * CLASSES;
    this.#retries = this.#errors + 1;
    this.#flows = Array.from({ length: this.#errors }, (_, index) => flowKey(index));
    this.#totals = new Float64Array(this.#retries + 1);
    this.#window = new TrafficWindow(this.#retries + 1, startedMs, WINDOW_SECONDS + 1);
    this.#nodes = nodeNames.map(() => new LatencyHistogram());
  }

  /** Latencies since the start, for Prometheus. */
  get histograms(): { readonly read: LatencyHistogram; readonly write: LatencyHistogram } {
    return { read: this.#read, write: this.#write };
  }

  /** One statement was answered. Allocates nothing. `atMs`: monotonic milliseconds, now. */
  record(
    nodeIndex: number,
    statementClass: TrafficClass,
    reason: RouteReason,
    latencyMs: number,
    atMs = nowMs(),
  ): void {
    this.#count((nodeIndex * REASONS + REASON_INDEX[reason]) * CLASSES + CLASS_INDEX[statementClass], atMs);
    (this.#nodes[nodeIndex] as LatencyHistogram).record(latencyMs, atMs);
    if (statementClass === 'read') this.#read.record(latencyMs, atMs);
    else if (statementClass === 'write') this.#write.record(latencyMs, atMs);
  }

  /** A statement was answered with an error, by a server or by us. */
  recordError(atMs = nowMs()): void {
    this.#count(this.#errors, atMs);
  }

  /** A statement ran again on another node. */
  recordRetry(atMs = nowMs()): void {
    this.#count(this.#retries, atMs);
  }

  snapshot(atMs = nowMs()): TrafficSnapshot {
    const minute = this.#window.sums(WINDOW_SECONDS, atMs);
    const recent = this.#window.sums(RATE_SECONDS, atMs);
    const seconds = this.#window.coveredSeconds(RATE_SECONDS, atMs);
    const rate = (passes: (f: FlowKey) => boolean): Rate => {
      const total = this.#sum(this.#totals, passes);
      return { total, perSecond: this.#sum(recent, passes) / seconds };
    };
    const at = (i: number): Rate => ({ total: this.#totals[i] as number, perSecond: (recent[i] as number) / seconds });
    const reads = this.#sum(minute, isRead);
    const readsEver = this.#sum(this.#totals, isRead);
    return {
      windowMs: WINDOW_SECONDS * 1000,
      statements: rate(() => true),
      reads: rate(isRead),
      writes: rate((f) => f.class === 'write'),
      errors: at(this.#errors),
      retries: at(this.#retries),
      readsOnReplicas: share(this.#sum(minute, isReplicaRead), reads),
      readsOnReplicasEver: share(this.#sum(this.#totals, isReplicaRead), readsEver),
      latencyMs: { read: quantilesOf(this.#read, atMs), write: quantilesOf(this.#write, atMs) },
      nodes: this.#names.map((name, node) => ({
        name,
        ...rate((f) => f.node === node),
        reads: rate((f) => f.node === node && isRead(f)),
        writes: rate((f) => f.node === node && f.class === 'write'),
        readShare: share(
          this.#sum(minute, (f) => f.node === node && isRead(f)),
          reads,
        ),
        latencyMs: quantilesOf(this.#nodes[node] as LatencyHistogram, atMs),
      })),
      flows: this.#flows
        .filter((f) => (this.#totals[f.index] as number) > 0)
        .map((f) => ({
          node: this.#names[f.node] as string,
          class: f.class,
          reason: f.reason,
          onReplica: REPLICA_REASONS.has(f.reason),
          ...at(f.index),
          share: isRead(f) ? share(minute[f.index] as number, reads) : null,
        })),
    };
  }

  #count(index: number, atMs: number): void {
    this.#totals[index]!++;
    this.#window.add(index, atMs);
  }

  #sum(counts: Float64Array, passes: (f: FlowKey) => boolean): number {
    let sum = 0;
    for (const flow of this.#flows) if (passes(flow)) sum += counts[flow.index] as number;
    return sum;
  }
}

type FlowKey = {
  readonly index: number;
  readonly node: number;
  readonly reason: RouteReason;
  readonly class: TrafficClass;
};

function flowKey(index: number): FlowKey {
  return {
    index,
    node: Math.floor(index / (REASONS * CLASSES)),
    reason: ROUTE_REASONS[Math.floor(index / CLASSES) % REASONS] as RouteReason,
    class: TRAFFIC_CLASSES[index % CLASSES] as TrafficClass,
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

function quantilesOf(histogram: LatencyHistogram, atMs: number): Quantiles {
  const [p50, p95, p99, p999] = histogram.quantiles(QUANTILES, atMs) as [number, number, number, number];
  return { p50, p95, p99, p999 };
}
