import { LSN_ZERO, type Lsn } from '../core/lsn.ts';

/** One commit as the logical stream told it. */
export type CommitPosition = {
  /** End of the commit record: what a replica must have replayed to show the commit. */
  readonly endLsn: Lsn;
  /** Commit time by the primary's clock, wall milliseconds with a fraction. */
  readonly commitMs: number;
  /** Names of the tables it touched, as `schema.table`. */
  readonly tables: readonly string[];
  /** The same by OID, with what they are parts of; null: it may have touched anything. */
  readonly oids: readonly number[] | null;
  /** It changed something that neither tables nor marks tell. */
  readonly untold?: boolean;
  /** It touched more tables than are counted: `tables` is empty. */
  readonly opaque?: boolean;
  /** Transaction id, 32 bits. */
  readonly xid?: number;
};

/** Is told of everything that is written, before it is. */
export type CommitFollower = { recorded(endLsn: Lsn, commitMs: number): void; reset(): void };

/** Commits closer in time than this share an entry: lag is exact to it. */
const RESOLUTION_MS = 1;

/** Commit times fall a little against LSN order all the time; more than this means that somebody set the primary's clock. */
const CLOCK_STEP_MS = 1000;

/** Entries may span this share of their age. */
const COARSENESS = 1 / 256;

/**
 * LSN ↔ time: (end LSN, time) in stream order, at most one entry a millisecond, so that the age of the oldest commit that a
 * replica has not replayed is one binary search. When it is full it is thinned, the more the older: it reaches back as far as anybody
 * lags, and is exact to half a percent of the lag there. The only writer is `replication`.
 */
export class CommitLog {
  readonly #capacity: number;
  /** Greatest end LSN among the commits of an entry. */
  readonly #lsns: BigUint64Array;
  /** Commit time of the oldest commit of an entry, primary's clock. */
  readonly #times: Float64Array;
  #length = 0;
  #commits = 0;
  #newest: Lsn = LSN_ZERO;
  #follower: CommitFollower | null = null;

  /** @param capacity entries; a multiple of 4 */
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
    this.#follower?.recorded(endLsn, commitMs);
    this.#commits++;
    this.#newest = endLsn;
    if (this.#length > 0) {
      const last = this.#length - 1;
      const sinceLastMs = commitMs - (this.#times[last] as number);
      if (sinceLastMs < RESOLUTION_MS && sinceLastMs > -CLOCK_STEP_MS) {
        this.#lsns[last] = endLsn;
        return;
      }
    }
    if (this.#length === this.#capacity) this.#thin();
    this.#lsns[this.#length] = endLsn;
    this.#times[this.#length] = commitMs;
    this.#length++;
  }

  /**
   * Time (primary's clock, wall milliseconds) of the oldest known commit that ends after `replayLsn`; null when there is none.
   * Among thinned entries the answer is the oldest commit of the entry: lag reads too large by a small share of itself.
   */
  oldestAfter(replayLsn: Lsn): number | null {
    if (this.#length === 0 || this.#newest <= replayLsn) return null;
    let low = 0;
    let high = this.#length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#lsns[middle] as bigint) > replayLsn) high = middle;
      else low = middle + 1;
    }
    return this.#times[low] as number;
  }

  /** End LSN of the newest commit that is not younger than `atMs` (primary's clock); for instants of the last seconds. */
  newestAt(atMs: number): Lsn {
    for (let i = this.#length - 1; i >= 0; i--) {
      if ((this.#times[i] as number) <= atMs) return this.#lsns[i] as Lsn;
    }
    return LSN_ZERO;
  }

  /** Forgets everything: after a failover positions of the old timeline beyond the fork mean nothing. */
  reset(): void {
    this.#follower?.reset();
    this.#length = 0;
    this.#newest = LSN_ZERO;
  }

  /** The entries, oldest first. */
  entries(): { readonly endLsns: BigUint64Array; readonly timesMs: Float64Array } {
    return { endLsns: this.#lsns.slice(0, this.#length), timesMs: this.#times.slice(0, this.#length) };
  }

  /** For whoever keeps a copy of it: there is one at most. */
  follow(follower: CommitFollower | null): void {
    this.#follower = follower;
  }

  /** Merges neighbours that lie closer together than a small share of their age: first time, last LSN. */
  #thin(): void {
    const newestMs = this.#times[this.#length - 1] as number;
    let kept = 0;
    for (let i = 0; i < this.#length; i++) {
      const timeMs = this.#times[i] as number;
      const apartMs = kept === 0 ? 0 : timeMs - (this.#times[kept - 1] as number);
      if (kept > 0 && apartMs >= 0 && apartMs <= (newestMs - timeMs) * COARSENESS) {
        this.#lsns[kept - 1] = this.#lsns[i] as bigint;
        continue;
      }
      this.#lsns[kept] = this.#lsns[i] as bigint;
      this.#times[kept] = timeMs;
      kept++;
    }
    const spare = this.#capacity / 4;
    if (kept > this.#capacity - spare) {
      // only after clocks that jumped about: the oldest go, and who is further behind than they reads too small a lag
      this.#lsns.copyWithin(0, spare, kept);
      this.#times.copyWithin(0, spare, kept);
      kept -= spare;
    }
    this.#length = kept;
  }
}
