import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';

/** Relation → end LSN of the last commit that touched it. The only writer is `replication`. */
export class TableFreshness {
  readonly #last = new Map<number, Lsn>();
  #all: Lsn = LSN_ZERO;
  #asOf: Lsn = LSN_ZERO;

  /** What the table says holds for the WAL up to here; of what comes later nothing is known. */
  get asOf(): Lsn {
    return this.#asOf;
  }

  /** The stream has told everything up to `lsn`. */
  toldUntil(lsn: Lsn): void {
    this.#asOf = lsn;
  }

  touch(relation: number, endLsn: Lsn): void {
    this.#last.set(relation, endLsn);
  }

  /** Everything may have changed: DDL, a gap in the stream. */
  touchAll(endLsn: Lsn): void {
    this.#all = maxLsn(this.#all, endLsn);
  }

  lastChange(relation: number): Lsn {
    return maxLsn(this.#all, this.#last.get(relation) ?? LSN_ZERO);
  }

  get size(): number {
    return this.#last.size;
  }

  reset(atLsn: Lsn): void {
    this.#last.clear();
    this.#all = atLsn;
  }
}
