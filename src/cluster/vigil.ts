import { Signal } from '../core/signal.ts';

/** Standing still for longer than this, a process no longer knows who is primary. */
const STANDSTILL_MS = 1000;

/**
 * Whether this process may go by what it knows. One that stood still (stopped, swapped out, a blocked event loop) may have missed a change of
 * primary: it sends no write until the primary has answered to a question that was asked since.
 */
export class Vigil {
  /** Monotonic milliseconds since when what is known is in doubt; null: it is not. */
  readonly doubtedSinceMs = new Signal<number | null>(null);
  #beatMs: number | null = null;

  /** Call at short intervals; before the first call nothing is watched. */
  beat(nowMs: number): void {
    this.sound(nowMs);
    this.#beatMs = nowMs;
  }

  /** What came before a late beat is looked at too: timers may run after what was read from sockets. */
  sound(nowMs: number): boolean {
    if (this.#beatMs !== null && nowMs - this.#beatMs > STANDSTILL_MS) {
      this.#beatMs = nowMs;
      this.doubt(nowMs);
    }
    return this.doubtedSinceMs.value === null;
  }

  doubt(nowMs: number): void {
    this.doubtedSinceMs.set(nowMs);
  }

  /** The assigned primary gave the right answer to a question asked at `askedMs`. */
  confirm(askedMs: number): void {
    const sinceMs = this.doubtedSinceMs.value;
    if (sinceMs !== null && askedMs > sinceMs) this.doubtedSinceMs.set(null);
  }
}
