const SLICE_MS = 1000;

/** Counts of the last minute in slices of a second: `add` allocates nothing, a passed second is cleared by whoever comes next. */
export class TrafficWindow {
  readonly #slices: number;
  #width: number;
  #counts: Uint32Array;
  readonly #startedMs: number;
  #period: number;

  /** @param width number of things counted */
  constructor(width: number, startedMs: number, seconds = 60) {
    this.#width = width;
    this.#slices = seconds;
    this.#counts = new Uint32Array(width * seconds);
    this.#startedMs = startedMs;
    this.#period = Math.floor(startedMs / SLICE_MS);
  }

  /** From now on so many things are counted, with what was counted before. */
  widen(width: number): void {
    const before = this.#counts;
    this.#counts = new Uint32Array(width * this.#slices);
    for (let slice = 0; slice < this.#slices; slice++) {
      this.#counts.set(before.subarray(slice * this.#width, (slice + 1) * this.#width), slice * width);
    }
    this.#width = width;
  }

  add(index: number, atMs: number): void {
    const period = Math.floor(atMs / SLICE_MS);
    if (period > this.#period) this.#rotate(period);
    this.#counts[(this.#period % this.#slices) * this.#width + index]!++;
  }

  /** Each thing's count in the last `seconds` whole seconds; the second that still runs is left out, so rates do not sag. */
  sums(seconds: number, atMs: number): Float64Array {
    const period = Math.floor(atMs / SLICE_MS);
    if (period > this.#period) this.#rotate(period);
    const sums = new Float64Array(this.#width);
    for (let back = 1; back <= Math.min(seconds, this.#slices - 1); back++) {
      const offset = ((this.#period - back + this.#slices) % this.#slices) * this.#width;
      for (let i = 0; i < this.#width; i++) sums[i]! += this.#counts[offset + i] as number;
    }
    return sums;
  }

  /** Seconds that `sums(seconds)` really covers: fewer just after the start. At least a tenth, to divide by. */
  coveredSeconds(seconds: number, atMs: number): number {
    const end = Math.floor(atMs / SLICE_MS) * SLICE_MS;
    return Math.max(0.1, Math.min(seconds, this.#slices - 1, (end - this.#startedMs) / 1000));
  }

  #rotate(period: number): void {
    const first = Math.max(this.#period + 1, period - this.#slices + 1);
    for (let p = first; p <= period; p++) {
      const offset = (p % this.#slices) * this.#width;
      this.#counts.fill(0, offset, offset + this.#width);
    }
    this.#period = period;
  }
}
