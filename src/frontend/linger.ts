import { nowMs } from '../core/clock.ts';
import type { Deadlines, Expiring } from '../core/deadlines.ts';

const LINGER_MS = 50;

/**
 * A batch whose end does not come. PostgreSQL runs messages as they come and tells an error at once; libpq in pipeline mode may wait for
 * that before it sends the Sync. What is collected must go to the server some time.
 */
export class Linger implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #deadlines: Deadlines;
  readonly #over: () => void;

  constructor(deadlines: Deadlines, over: () => void) {
    this.#deadlines = deadlines;
    this.#over = over;
  }

  /** A message came. @param unfinished the batch is not ended by it */
  heard(unfinished: boolean): void {
    if (!unfinished) this.#deadlines.clear(this);
    else if (this.deadlineMs === Number.POSITIVE_INFINITY) this.#deadlines.set(this, nowMs() + LINGER_MS);
  }

  expire(): void {
    this.#over();
  }
}
