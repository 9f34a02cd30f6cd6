type Estimate = { readonly offsetMs: number; readonly roundTripMs: number };

/**
 * Server's wall clock minus ours. Each probe gives an estimate that is exact to half its round trip; the best of the last few is
 * kept, so that one slow probe does not make a replica look late.
 */
export class ClockOffset {
  readonly #window: number;
  readonly #estimates: Estimate[] = [];

  /** @param window probes; short enough that drift between them (50 ppm) does not matter */
  constructor(window = 10) {
    this.#window = window;
  }

  /**
   * @param serverMs the server's wall clock as it answered
   * @param sentMs our wall clock when the question went out
   * @param receivedMs our wall clock when the answer was read
   * @returns the best estimate now, in milliseconds
   */
  add(serverMs: number, sentMs: number, receivedMs: number): number {
    const offsetMs = serverMs - (sentMs + receivedMs) / 2;
    const roundTripMs = receivedMs - sentMs;
    const best = this.#best();
    // outside what both may err by: a clock was set, what was learned before is void
    if (best !== null && Math.abs(best.offsetMs - offsetMs) > (best.roundTripMs + roundTripMs) / 2 + 1) {
      this.#estimates.length = 0;
    }
    this.#estimates.push({ offsetMs, roundTripMs });
    if (this.#estimates.length > this.#window) this.#estimates.shift();
    return (this.#best() as Estimate).offsetMs;
  }

  #best(): Estimate | null {
    let best: Estimate | null = null;
    for (const e of this.#estimates) if (best === null || e.roundTripMs < best.roundTripMs) best = e;
    return best;
  }
}
