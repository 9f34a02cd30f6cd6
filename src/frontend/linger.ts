import { nowMs } from '../core/clock.ts';
import type { Deadlines, Expiring } from '../core/deadlines.ts';

export type LingerHost = {
  /** What was collected is to go on without its end. */
  sendOn(): void;
};

const LINGER_MS = 50;

/**
 * A batch whose end does not come. PostgreSQL runs messages as they come and tells an error at once; libpq in pipeline mode may wait for
 * that before it sends the Sync. What is collected must go to the server some time.
 */
export class Linger implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #deadlines: Deadlines;
  readonly #host: LingerHost;

  constructor(deadlines: Deadlines, host: LingerHost) {
    this.#deadlines = deadlines;
    this.#host = host;
  }

  /** A message came. @param unfinished the batch is not ended by it */
  heard(unfinished: boolean): void {
    if (!unfinished) this.#deadlines.clear(this);
    else if (this.deadlineMs === Number.POSITIVE_INFINITY) this.#deadlines.set(this, nowMs() + LINGER_MS);
  }

  expire(): void {
    this.#host.sendOn();
  }
}
