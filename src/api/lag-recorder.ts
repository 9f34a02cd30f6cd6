import type { Cluster } from '../cluster/cluster.ts';
import { wallMs } from '../core/clock.ts';
import type { LagSample } from '../store/records.ts';
import { lagView } from './cluster-view.ts';

const SAMPLE_MS = 250;
const KEEP_MS = 600_000;
const CAPACITY = KEEP_MS / SAMPLE_MS;

/** Samples every node's lag four times a second and remembers ten minutes, in fixed arrays. NaN stands for not known. */
export class LagRecorder {
  readonly #cluster: Cluster;
  readonly #times = new Float64Array(CAPACITY);
  /** By the place of the node; those that have joined since come with their first sample. */
  readonly #ms: Float64Array[] = [];
  readonly #bytes: Float64Array[] = [];
  #start = 0;
  #length = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sample(wallMs()), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Wall clock of the oldest sample kept, or Infinity. */
  get oldestMs(): number {
    return this.#length === 0 ? Number.POSITIVE_INFINITY : (this.#times[this.#start] as number);
  }

  sample(atMs: number): void {
    if (this.#length === CAPACITY) this.#start = (this.#start + 1) % CAPACITY;
    else this.#length++;
    const slot = (this.#start + this.#length - 1) % CAPACITY;
    this.#times[slot] = atMs;
    for (const node of this.#cluster.topology.value.nodes) {
      const lag = lagView(this.#cluster, node);
      for (const [samples, value] of [
        [this.#ms, lag.ms],
        [this.#bytes, lag.bytes],
      ] as const) {
        samples[node.index] ??= new Float64Array(CAPACITY).fill(Number.NaN);
        (samples[node.index] as Float64Array)[slot] = value ?? Number.NaN;
      }
    }
  }

  /** Samples of one node since `sinceMs`, thinned to about `points`: of samples that share a point the worst is kept, so peaks stay. */
  list(nodeIndex: number, sinceMs: number, points: number): LagSample[] {
    let first = 0;
    while (first < this.#length && (this.#times[(this.#start + first) % CAPACITY] as number) < sinceMs) first++;
    const each = Math.max(1, Math.ceil((this.#length - first) / points));
    // grouped by position in the ring, so that a peak does not jump from one answer to the next
    const samples: LagSample[] = [];
    for (let i = first; i < this.#length; i += each) {
      samples.push(this.#worst(nodeIndex, i, Math.min(i + each, this.#length)));
    }
    return samples;
  }

  #worst(nodeIndex: number, from: number, to: number): LagSample {
    let ms = Number.NaN;
    let bytes = Number.NaN;
    for (let i = from; i < to; i++) {
      const slot = (this.#start + i) % CAPACITY;
      ms = greater(ms, this.#ms[nodeIndex]?.[slot] ?? Number.NaN);
      bytes = greater(bytes, this.#bytes[nodeIndex]?.[slot] ?? Number.NaN);
    }
    return {
      node: this.#cluster.nodes[nodeIndex]?.name as string,
      atMs: Math.round(this.#times[(this.#start + to - 1) % CAPACITY] as number),
      lagBytes: Number.isNaN(bytes) ? null : bytes,
      lagMs: Number.isNaN(ms) ? null : ms,
    };
  }
}

function greater(a: number, b: number): number {
  return Number.isNaN(a) || b > a ? b : a;
}
