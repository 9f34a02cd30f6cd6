import type { Lsn } from '../core/lsn.ts';
import type { CommitPosition } from './commit-log.ts';

/**
 * The last commits of the logical stream with the tables they touched, so that a failover can name what was lost. The only writer
 * is `replication`.
 */
export class RecentCommits {
  readonly #capacity: number;
  readonly #ring: CommitPosition[] = [];
  #next = 0;

  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  record(commit: CommitPosition): void {
    this.#ring[this.#next] = commit;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** Commits that end after `position`, oldest first. */
  after(position: Lsn): readonly CommitPosition[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return ordered.filter((commit) => commit.endLsn > position);
  }

  /** Forgets everything: positions of a timeline that was left mean nothing on the next. */
  reset(): void {
    this.#ring.length = 0;
    this.#next = 0;
  }
}
