/** What a read waits for: that a replica replays so far, or that the logical stream tells so far. */
export type Awaited = 'replay' | 'stream';

/** After so many waits in vain further ones are spared. */
const IN_VAIN = 3;

/** One wait in so many times `routing.freshness_wait` still finds out whether it has become worth while. */
const SPARED_WAITS = 10;

/** Waits in vain that began each after the one before had ended, when the last of them ended, and when another one may begin. */
type Experience = { vain: number; endedMs: number; nextTryMs: number };

/**
 * Whether waits for freshness are worth while. Where replicas lag by more than `routing.freshness_wait`, yet less than `routing.max_lag`, every read behind a
 * write would wait as long as it may and then run on the primary all the same: such reads go there at once. What is fresh is not its
 * business.
 */
export class Patience {
  readonly #of: Readonly<Record<Awaited, Experience>> = {
    replay: { vain: 0, endedMs: 0, nextTryMs: 0 },
    stream: { vain: 0, endedMs: 0, nextTryMs: 0 },
  };

  /**
   * @param atMs now, monotonic milliseconds
   * @param waitMs how long the wait may take
   */
  mayWait(awaited: Awaited, atMs: number, waitMs: number): boolean {
    const experience = this.#of[awaited];
    if (experience.vain < IN_VAIN) return true;
    if (atMs < experience.nextTryMs) return false;
    experience.nextTryMs = atMs + SPARED_WAITS * waitMs;
    return true;
  }

  /** What was waited for has come. */
  rewarded(awaited: Awaited): void {
    this.#of[awaited].vain = 0;
  }

  /** It has not, within `waitMs`. Of many that wait at the same time one counts. */
  inVain(awaited: Awaited, atMs: number, waitMs: number): void {
    const experience = this.#of[awaited];
    if (atMs - waitMs < experience.endedMs) return;
    experience.endedMs = atMs;
    if (++experience.vain === IN_VAIN) experience.nextTryMs = atMs + SPARED_WAITS * waitMs;
  }
}
