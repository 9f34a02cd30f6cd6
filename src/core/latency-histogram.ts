/** Values up to this many microseconds have a bucket each; above, every octave is cut into half as many. */
const LINEAR = 64;
const PER_OCTAVE = LINEAR / 2;
/** 2^32 microseconds, about 71 minutes, is where the scale ends. */
const BUCKETS = LINEAR + (32 - 6) * PER_OCTAVE;
const MAX_US = 0xffffffff;

/** What a histogram holds at one instant, as plain numbers: those of several processes add up. */
export type LatencyCounts = {
  /** Per bucket, in the window. */
  readonly window: Float64Array;
  /** Per bucket, since the start. */
  readonly ever: Float64Array;
  readonly everCount: number;
  readonly everSumMs: number;
};

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

  counts(atMs: number): LatencyCounts {
    this.#expire(atMs);
    const window = new Float64Array(BUCKETS);
    for (const slice of this.#slices) for (let i = 0; i < BUCKETS; i++) window[i]! += slice[i] as number;
    return { window, ever: this.#ever.slice(), everCount: this.#everCount, everSumMs: this.#everSumMs };
  }

  /** Milliseconds at the quantiles (0…1, ascending) of the window; null for each when it is empty. */
  quantiles(ascending: readonly number[], atMs: number): (number | null)[] {
    return quantilesOf(this.counts(atMs), ascending);
  }

  /** Milliseconds at one quantile of the window, or null when it is empty. */
  quantile(q: number, atMs: number): number | null {
    return this.quantiles([q], atMs)[0] as number | null;
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

/** Milliseconds at the quantiles (0…1, ascending) of the window; null for each when it is empty. */
export function quantilesOf({ window }: LatencyCounts, ascending: readonly number[]): (number | null)[] {
  let count = 0;
  for (let i = 0; i < BUCKETS; i++) count += window[i] as number;
  if (count === 0) return ascending.map(() => null);
  let seen = 0;
  let bucket = -1;
  return ascending.map((q) => {
    const rank = Math.max(1, Math.ceil(q * count));
    while (seen < rank) seen += window[++bucket] as number;
    return middleUs(bucket) / 1000;
  });
}

/** Values since the start that are at most each of `boundsMs` (ascending): the cumulative buckets of Prometheus. */
export function cumulativeOf({ ever }: LatencyCounts, boundsMs: readonly number[]): number[] {
  let sum = 0;
  let bucket = 0;
  return boundsMs.map((boundMs) => {
    while (bucket < BUCKETS && middleUs(bucket) <= boundMs * 1000) sum += ever[bucket++] as number;
    return sum;
  });
}

/** All of them together. */
export function sumOfLatencies(all: readonly LatencyCounts[]): LatencyCounts {
  const window = new Float64Array(BUCKETS);
  const ever = new Float64Array(BUCKETS);
  let everCount = 0;
  let everSumMs = 0;
  for (const one of all) {
    for (let i = 0; i < BUCKETS; i++) {
      window[i]! += one.window[i] as number;
      ever[i]! += one.ever[i] as number;
    }
    everCount += one.everCount;
    everSumMs += one.everSumMs;
  }
  return { window, ever, everCount, everSumMs };
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
