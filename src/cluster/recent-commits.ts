import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import type { CommitPosition } from './commit-log.ts';

/**
 * The last commits of the logical stream with the tables they touched, so that a failover can name what was lost. The only writer
 * is `replication`.
 */
export class RecentCommits {
  readonly #capacity: number;
  readonly #ring: CommitPosition[] = [];
  #next = 0;
  /** Commits that end after this position are all there. */
  #completeFrom: Lsn = LSN_ZERO;

  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  record(commit: CommitPosition): void {
    this.#completeFrom = this.#ring[this.#next]?.endLsn ?? this.#completeFrom;
    this.#ring[this.#next] = commit;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** Commits that end after `position`, oldest first. */
  after(position: Lsn): readonly CommitPosition[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return ordered.filter((commit) => commit.endLsn > position);
  }

  /** Commits that end after this are all here. */
  get completeFrom(): Lsn {
    return this.#completeFrom;
  }

  /** Of what committed before `position` something may not have been told. */
  gap(position: Lsn): void {
    this.#completeFrom = maxLsn(this.#completeFrom, position);
  }

  /** A commit after `from`, up to `to`, that touched one of the relations; null: there is none. `unknown`: not all of these are kept. */
  firstOf(oids: readonly number[], from: Lsn, to: Lsn): CommitPosition | 'unknown' | null {
    if (from < this.#completeFrom) return 'unknown';
    const { length } = this.#ring;
    for (let i = 1; i <= length; i++) {
      const commit = this.#ring[(this.#next - i + length) % length] as CommitPosition;
      if (commit.endLsn <= from) return null;
      if (commit.endLsn > to) continue;
      if (commit.oids === null || commit.oids.some((oid) => oids.includes(oid))) return commit;
    }
    return null;
  }

  /** Commits up to there that changed what nothing tells may have changed anything. */
  suspect(upTo: Lsn): void {
    for (const [i, commit] of this.#ring.entries()) {
      if (commit.untold === true && commit.endLsn <= upTo) this.#ring[i] = { ...commit, oids: null };
    }
  }

  /** Forgets everything: positions of a timeline that was left mean nothing on the next. */
  reset(): void {
    this.#ring.length = 0;
    this.#next = 0;
    this.#completeFrom = LSN_ZERO;
  }
}
