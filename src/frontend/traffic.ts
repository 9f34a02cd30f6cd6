/** What went where, why and how long it took. The frontend writes on the hot path, API and console read. */
import { nowMs } from '../core/clock.ts';
import { LatencyHistogram } from '../core/latency-histogram.ts';
import type { RouteReason } from '../routing/decision.ts';
import {
  flowCount,
  flowIndex,
  RATE_SECONDS,
  type TrafficClass,
  type TrafficCounts,
  type TrafficSnapshot,
  trafficSnapshot,
  WINDOW_SECONDS,
} from './traffic-snapshot.ts';
import { TrafficWindow } from './traffic-window.ts';

export class Traffic {
  readonly #names: readonly string[];
  /** Flows, then errors, then retries. */
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
    this.#errors = flowCount(nodeNames.length);
    this.#retries = this.#errors + 1;
    this.#totals = new Float64Array(this.#retries + 1);
    this.#window = new TrafficWindow(this.#retries + 1, startedMs, WINDOW_SECONDS + 1);
    this.#nodes = nodeNames.map(() => new LatencyHistogram());
  }

  /** One statement was answered. Allocates nothing. `atMs`: monotonic milliseconds, now. */
  record(
    nodeIndex: number,
    statementClass: TrafficClass,
    reason: RouteReason,
    latencyMs: number,
    atMs = nowMs(),
  ): void {
    this.#count(flowIndex(nodeIndex, statementClass, reason), atMs);
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

  counts(atMs = nowMs()): TrafficCounts {
    return {
      totals: this.#totals.slice(),
      minute: this.#window.sums(WINDOW_SECONDS, atMs),
      recent: this.#window.sums(RATE_SECONDS, atMs),
      recentSeconds: this.#window.coveredSeconds(RATE_SECONDS, atMs),
      read: this.#read.counts(atMs),
      write: this.#write.counts(atMs),
      nodes: this.#nodes.map((node) => node.counts(atMs)),
    };
  }

  snapshot(atMs = nowMs()): TrafficSnapshot {
    return trafficSnapshot(this.counts(atMs), this.#names);
  }

  #count(index: number, atMs: number): void {
    this.#totals[index]!++;
    this.#window.add(index, atMs);
  }
}
