/** A statement is quick below this, milliseconds: others may wait behind it. */
const QUICK_MS = 10;
/** Weights of the newest measurement: what is measured includes waiting for a busy machine, so the low ones tell more. */
const LOWER = 1 / 2;
const HIGHER = 1 / 32;
/** What is left of the distrust with each execution that held up nobody: after one that did, some thirty have to be alone. */
const FORGIVEN = 0.98;
const DISTRUST = 0.5;

/** How long statements of one shape keep a server busy when nothing else does. */
export class Pace {
  /** Milliseconds; NaN until one was measured. */
  #ms = Number.NaN;
  /** Rises by one with each that others had to be taken away from. */
  #stalls = 0;

  /** Expected milliseconds. */
  get ms(): number {
    return this.#ms;
  }

  /** False also while nothing is known. */
  get quick(): boolean {
    return this.#ms < QUICK_MS && this.#stalls < DISTRUST;
  }

  /** One took so long. */
  measured(ms: number): void {
    this.#stalls *= FORGIVEN;
    if (Number.isNaN(this.#ms)) this.#ms = ms;
    else this.#ms += (ms - this.#ms) * (ms < this.#ms ? LOWER : HIGHER);
  }

  /** One takes so long that others are not left to wait for it. */
  stalled(): void {
    this.#stalls++;
  }
}
