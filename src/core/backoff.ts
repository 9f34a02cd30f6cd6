/** Exponential backoff with full jitter between `minMs` and a growing ceiling. */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  #ceilingMs: number;

  constructor(minMs: number, maxMs: number) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#ceilingMs = minMs;
  }

  /** Milliseconds to wait before the next try. */
  next(): number {
    const delayMs = this.#minMs + Math.random() * (this.#ceilingMs - this.#minMs);
    this.#ceilingMs = Math.min(this.#maxMs, this.#ceilingMs * 2);
    return delayMs;
  }

  reset(): void {
    this.#ceilingMs = this.#minMs;
  }
}
