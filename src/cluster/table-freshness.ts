import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';

/** One write to the table. `touched` without a relation: everything may have changed. */
export type FreshnessChange =
  | { readonly kind: 'touched'; readonly relation: number | null; readonly endLsn: Lsn }
  | { readonly kind: 'told' | 'reset'; readonly lsn: Lsn };

/** Relation → end LSN of the last commit that touched it. The only writer is `replication`. */
export class TableFreshness {
  readonly #last = new Map<number, Lsn>();
  #all: Lsn = LSN_ZERO;
  #asOf: Lsn = LSN_ZERO;
  #follower: ((change: FreshnessChange) => void) | null = null;

  /** What the table says holds for the WAL up to here; of what comes later nothing is known. */
  get asOf(): Lsn {
    return this.#asOf;
  }

  /** The stream has told everything up to `lsn`. */
  toldUntil(lsn: Lsn): void {
    this.#follower?.({ kind: 'told', lsn });
    this.#asOf = lsn;
  }

  touch(relation: number, endLsn: Lsn): void {
    this.#follower?.({ kind: 'touched', relation, endLsn });
    this.#last.set(relation, endLsn);
  }

  /** Everything may have changed: DDL, a gap in the stream. */
  touchAll(endLsn: Lsn): void {
    this.#follower?.({ kind: 'touched', relation: null, endLsn });
    this.#all = maxLsn(this.#all, endLsn);
  }

  lastChange(relation: number): Lsn {
    return maxLsn(this.#all, this.#last.get(relation) ?? LSN_ZERO);
  }

  get size(): number {
    return this.#last.size;
  }

  reset(atLsn: Lsn): void {
    this.#follower?.({ kind: 'reset', lsn: atLsn });
    this.#last.clear();
    this.#all = atLsn;
  }

  /** For whoever keeps a copy of it: is told of everything that is written, before it is. There is one at most. */
  follow(follower: ((change: FreshnessChange) => void) | null): void {
    this.#follower = follower;
  }

  /** What makes an empty table the same as this one. */
  changes(): FreshnessChange[] {
    return [
      { kind: 'reset', lsn: this.#all },
      ...[...this.#last].map(([relation, endLsn]) => ({ kind: 'touched' as const, relation, endLsn })),
      { kind: 'told', lsn: this.#asOf },
    ];
  }

  apply(change: FreshnessChange): void {
    if (change.kind === 'touched') {
      if (change.relation === null) this.touchAll(change.endLsn);
      else this.touch(change.relation, change.endLsn);
    } else if (change.kind === 'told') this.toldUntil(change.lsn);
    else this.reset(change.lsn);
  }
}
