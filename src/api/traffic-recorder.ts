import { wallMs } from '../core/clock.ts';
import type { TrafficSource } from './sources.ts';

const SAMPLE_MS = 1000;
const KEEP = 600;

/** Throughput and latency of one second, for plots. Latencies are those of the sliding minute. */
export type TrafficSample = {
  /** Wall clock, milliseconds since 1970. */
  readonly at: number;
  /** Statements per second of each node, in the order of `TopologyNode.index`; those that have joined since are not in it. */
  readonly perSecond: readonly number[];
  readonly readP50: number | null;
  readonly readP99: number | null;
  readonly writeP50: number | null;
  readonly writeP99: number | null;
};

/** Remembers ten minutes of traffic, a sample a second. */
export class TrafficRecorder {
  readonly #traffic: TrafficSource;
  readonly #samples: TrafficSample[] = [];
  #before: { readonly atMs: number; readonly totals: readonly number[] } | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(traffic: TrafficSource) {
    this.#traffic = traffic;
  }

  get samples(): readonly TrafficSample[] {
    return this.#samples;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sample(wallMs()), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  sample(atMs: number): void {
    const seen = this.#traffic.snapshot();
    const totals = seen.nodes.map((n) => n.total);
    const before = this.#before;
    this.#before = { atMs, totals };
    if (before === null || atMs <= before.atMs) return;
    const seconds = (atMs - before.atMs) / 1000;
    if (this.#samples.length === KEEP) this.#samples.shift();
    this.#samples.push({
      at: Math.round(atMs),
      perSecond: totals.map((total, i) => Math.round(((total - (before.totals[i] ?? 0)) / seconds) * 10) / 10),
      readP50: seen.latencyMs.read.p50,
      readP99: seen.latencyMs.read.p99,
      writeP50: seen.latencyMs.write.p50,
      writeP99: seen.latencyMs.write.p99,
    });
  }
}
