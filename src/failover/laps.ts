import { nowMs } from '../core/clock.ts';

/** Whole milliseconds by step, in the order in which the steps ended. */
export type Steps = Readonly<Record<string, number>>;

/** Where the time goes while clients wait. */
export class Laps {
  readonly #steps: Record<string, number> = {};
  #sinceMs = nowMs();

  get steps(): Steps {
    return { ...this.#steps };
  }

  /** The step that began with the end of the one before is over. */
  lap(step: string): void {
    const atMs = nowMs();
    this.#steps[step] = Math.round(atMs - this.#sinceMs);
    this.#sinceMs = atMs;
  }
}
