/** What went where, why and how long it took. The frontend writes on the hot path, API and console read. */
import { nowMs } from '../core/clock.ts';
import { LatencyHistogram } from '../core/latency-histogram.ts';
import type { RouteReason } from '../routing/decision.ts';
import {
  counterCount,
  ERRORS,
  flowIndex,
  RATE_SECONDS,
  RETRIES,
  type TrafficClass,
  type TrafficCounts,
  type TrafficSnapshot,
  trafficSnapshot,
  WINDOW_SECONDS,
} from './traffic-snapshot.ts';
import { TrafficWindow } from './traffic-window.ts';

export class Traffic {
  readonly #window: TrafficWindow;
  readonly #read = new LatencyHistogram();
  readonly #write = new LatencyHistogram();
  readonly #nodes: LatencyHistogram[];
  #names: readonly string[];
  /** As in `TrafficCounts`. */
  #totals: Float64Array;

  /** @param nodeNames in the order of `TopologyNode.index` */
  constructor(nodeNames: readonly string[], startedMs = nowMs()) {
    this.#names = nodeNames;
    this.#totals = new Float64Array(counterCount(nodeNames.length));
    this.#window = new TrafficWindow(this.#totals.length, startedMs, WINDOW_SECONDS + 1);
    this.#nodes = nodeNames.map(() => new LatencyHistogram());
  }

  /** Nodes that have joined are counted as well. @param nodeNames all of them, those that were there first */
  widen(nodeNames: readonly string[]): void {
    if (nodeNames.length <= this.#names.length) return;
    for (const _ of nodeNames.slice(this.#names.length)) this.#nodes.push(new LatencyHistogram());
    const totals = new Float64Array(counterCount(nodeNames.length));
    totals.set(this.#totals);
    this.#totals = totals;
    this.#window.widen(totals.length);
    this.#names = nodeNames;
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
    this.#count(ERRORS, atMs);
  }

  /** A statement ran again on another node. */
  recordRetry(atMs = nowMs()): void {
    this.#count(RETRIES, atMs);
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
