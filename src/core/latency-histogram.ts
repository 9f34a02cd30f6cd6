/** Values up to this many microseconds have a bucket each; above, every octave is cut into half as many. */
const LINEAR = 64;
const PER_OCTAVE = LINEAR / 2;
/** 2^32 microseconds, about 71 minutes, is where the scale ends. */
const BUCKETS = LINEAR + (32 - 6) * PER_OCTAVE;
const MAX_US = 0xffffffff;

/**
 * Latencies of a sliding window, log-linear like an HDR histogram: a quantile is exact to 1.6 % (half a bucket). Fixed arrays, so that
 * `record` allocates nothing. The window is a ring of slices that whoever comes first clears when its time is over.
 */
export class LatencyHistogram {
  readonly #slices: Uint32Array[];
  readonly #sliceMs: number;
  /** All values since the start, which is what a Prometheus histogram wants. */
  readonly #ever = new Float64Array(BUCKETS);
  #everSumMs = 0;
  #everCount = 0;
  /** Number of the slice period that is being written. */
  #period = 0;

  /** @param windowMs length of the window; the oldest of its slices is dropped as a whole. */
  constructor(windowMs = 60_000, slices = 6) {
    this.#slices = Array.from({ length: slices }, () => new Uint32Array(BUCKETS));
    this.#sliceMs = windowMs / slices;
  }

  /** Values recorded since the start. */
  get totalCount(): number {
    return this.#everCount;
  }

  /** Sum of the values recorded since the start, milliseconds. */
  get totalSumMs(): number {
    return this.#everSumMs;
  }

  /** @param atMs monotonic milliseconds, now. */
  record(ms: number, atMs: number): void {
    const us = ms <= 0 ? 0 : Math.min(MAX_US, Math.round(ms * 1000));
    const bucket = bucketOf(us);
    const period = Math.floor(atMs / this.#sliceMs);
    if (period > this.#period) this.#rotate(period);
    (this.#slices[this.#period % this.#slices.length] as Uint32Array)[bucket]!++;
    this.#ever[bucket]!++;
    this.#everCount++;
    this.#everSumMs += us / 1000;
  }

  /** Values in the window. */
  count(atMs: number): number {
    this.#expire(atMs);
    let count = 0;
    for (const slice of this.#slices) for (let i = 0; i < BUCKETS; i++) count += slice[i] as number;
    return count;
  }

  /** Milliseconds at the quantiles (0…1, ascending) of the window; null for each when it is empty. */
  quantiles(ascending: readonly number[], atMs: number): (number | null)[] {
    const count = this.count(atMs);
    if (count === 0) return ascending.map(() => null);
    let seen = 0;
    let bucket = -1;
    return ascending.map((q) => {
      const rank = Math.max(1, Math.ceil(q * count));
      while (seen < rank) {
        bucket++;
        for (const slice of this.#slices) seen += slice[bucket] as number;
      }
      return middleUs(bucket) / 1000;
    });
  }

  /** Milliseconds at one quantile of the window, or null when it is empty. */
  quantile(q: number, atMs: number): number | null {
    return this.quantiles([q], atMs)[0] as number | null;
  }

  /** Values since the start that are at most each of `boundsMs` (ascending): the cumulative buckets of Prometheus. */
  cumulative(boundsMs: readonly number[]): number[] {
    let sum = 0;
    let bucket = 0;
    return boundsMs.map((boundMs) => {
      while (bucket < BUCKETS && middleUs(bucket) <= boundMs * 1000) sum += this.#ever[bucket++] as number;
      return sum;
    });
  }

  #expire(atMs: number): void {
    const period = Math.floor(atMs / this.#sliceMs);
    if (period > this.#period) this.#rotate(period);
  }

  #rotate(period: number): void {
    const slices = this.#slices.length;
    const first = Math.max(this.#period + 1, period - slices + 1);
    for (let p = first; p <= period; p++) (this.#slices[p % slices] as Uint32Array).fill(0);
    this.#period = period;
  }
}

function bucketOf(us: number): number {
  if (us < LINEAR) return us;
  const octave = 31 - Math.clz32(us);
  return LINEAR + (octave - 6) * PER_OCTAVE + ((us >>> (octave - 5)) - PER_OCTAVE);
}

/** Middle of the values that fall into the bucket, microseconds. */
function middleUs(bucket: number): number {
  if (bucket < LINEAR) return bucket;
  const octave = 6 + Math.floor((bucket - LINEAR) / PER_OCTAVE);
  const widthUs = 2 ** (octave - 5);
  const lowUs = (PER_OCTAVE + ((bucket - LINEAR) % PER_OCTAVE)) * widthUs;
  return lowUs + (widthUs - 1) / 2;
}
