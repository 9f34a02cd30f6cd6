import { LSN_ZERO, type Lsn } from '../core/lsn.ts';

/** One commit as the logical stream told it. */
export type CommitPosition = {
  /** End of the commit record: what a replica must have replayed to show the commit. */
  readonly endLsn: Lsn;
  /** Commit time by the primary's clock, wall milliseconds with a fraction. */
  readonly commitMs: number;
  /** OIDs of the relations it touched. */
  readonly tables: readonly number[];
};

/** Commits closer in time than this share an entry: lag is exact to it. */
const RESOLUTION_MS = 1;

/**
 * LSN ↔ time. A ring of (end LSN, time) in stream order, at most one entry a millisecond, so that the age of the oldest commit that a
 * replica has not replayed is one binary search. The only writer is `replication` (or `monitor` where there is no stream).
 */
export class CommitLog {
  readonly #capacity: number;
  /** Greatest end LSN among the commits of an entry. */
  readonly #lsns: BigUint64Array;
  /** Commit time of the oldest commit of an entry, primary's clock. */
  readonly #times: Float64Array;
  #start = 0;
  #length = 0;
  #commits = 0;
  #newest: Lsn = LSN_ZERO;

  constructor(capacity = 65_536) {
    this.#capacity = capacity;
    this.#lsns = new BigUint64Array(capacity);
    this.#times = new Float64Array(capacity);
  }

  /** Commits recorded since the start. */
  get commits(): number {
    return this.#commits;
  }

  /** End LSN of the newest commit. */
  get newestLsn(): Lsn {
    return this.#newest;
  }

  /** Adds a commit; end LSNs must not fall (a commit seen before is ignored). */
  record(endLsn: Lsn, commitMs: number): void {
    if (endLsn <= this.#newest) return;
    this.#commits++;
    this.#newest = endLsn;
    const last = this.#index(this.#length - 1);
    if (this.#length > 0 && commitMs - (this.#times[last] as number) < RESOLUTION_MS) {
      this.#lsns[last] = endLsn;
      return;
    }
    if (this.#length === this.#capacity) {
      this.#start = (this.#start + 1) % this.#capacity;
      this.#length--;
    }
    const slot = this.#index(this.#length);
    this.#lsns[slot] = endLsn;
    this.#times[slot] = commitMs;
    this.#length++;
  }

  /**
   * Time (primary's clock, wall milliseconds) of the oldest known commit that ends after `replayLsn`; null when there is none.
   * When older entries were overwritten the answer is the oldest kept, so lag reads too small, never too large.
   */
  oldestAfter(replayLsn: Lsn): number | null {
    if (this.#length === 0 || this.#newest <= replayLsn) return null;
    let low = 0;
    let high = this.#length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#lsns[this.#index(middle)] as bigint) > replayLsn) high = middle;
      else low = middle + 1;
    }
    return this.#times[this.#index(low)] as number;
  }

  /** Forgets everything: after a failover positions of the old timeline beyond the fork mean nothing. */
  reset(): void {
    this.#start = 0;
    this.#length = 0;
    this.#newest = LSN_ZERO;
  }

  #index(offset: number): number {
    return (this.#start + offset + this.#capacity) % this.#capacity;
  }
}
