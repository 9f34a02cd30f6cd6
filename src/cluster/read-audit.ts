import type { Lsn } from '../core/lsn.ts';
import type { RecentCommits } from './recent-commits.ts';
import type { TableFreshness } from './table-freshness.ts';

/** A read that a replica answered, and what it must have seen. */
export type AuditedRead = {
  readonly node: string;
  readonly timeline: number;
  /** Where the replica was, asked on the very connection right before the read. */
  readonly replayed: Lsn;
  /** What the session had written or seen; for `strong` what the primary had. */
  readonly floor: Lsn;
  /** What it reads; null: not known. */
  readonly oids: readonly number[] | null;
  /** Names of what it reads, as written. */
  readonly names: readonly string[];
};

/** A read that saw less than it must have. */
export type AuditViolation = AuditedRead & { readonly why: string };

/** Reads that wait for the stream. */
const MAX_PENDING = 1000;

/**
 * Checks reads of replicas against the facts: the position that the replica itself told, and the commits that the stream told. Of what routing goes by
 * it uses nothing but what a session must see. The only writer is `frontend`.
 */
export class ReadAudit {
  readonly #recent: RecentCommits;
  readonly #freshness: TableFreshness;
  readonly #pending: AuditedRead[] = [];
  readonly #listeners = new Set<(violation: AuditViolation) => void>();
  /** Reads that saw what they must have. */
  passed = 0;
  violations = 0;
  /** Reads of which the facts do not tell: commits that were forgotten, a failover since. */
  undecided = 0;
  last: AuditViolation | null = null;

  constructor(recent: RecentCommits, freshness: TableFreshness) {
    this.#recent = recent;
    this.#freshness = freshness;
    freshness.onTold(() => this.#look());
  }

  /** @returns the function that unsubscribes */
  onViolation(listener: (violation: AuditViolation) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  record(read: AuditedRead): void {
    if (read.replayed >= read.floor) {
      this.passed++;
      return;
    }
    if (read.oids === null) return this.#violated(read, 'the replica had not replayed what the session must see');
    this.#pending.push(read);
    if (this.#pending.length > MAX_PENDING) {
      this.#pending.shift();
      this.undecided++;
    }
    this.#look();
  }

  /** Decides what the stream has caught up with. */
  #look(): void {
    if (this.#pending.length === 0) return;
    const { asOf, timeline } = this.#freshness;
    for (const read of this.#pending.splice(0)) {
      if (read.timeline !== timeline) this.undecided++;
      else if (asOf < read.floor) this.#pending.push(read);
      else this.#decide(read);
    }
  }

  #decide(read: AuditedRead): void {
    const missed = this.#recent.firstOf(read.oids ?? [], read.replayed, read.floor);
    if (missed === 'unknown') this.undecided++;
    else if (missed === null) this.passed++;
    else this.#violated(read, `the replica had not replayed a commit of ${missed.tables.join(', ') || 'DDL'}`);
  }

  #violated(read: AuditedRead, why: string): void {
    this.violations++;
    this.last = { ...read, why };
    for (const listener of this.#listeners) listener(this.last);
  }
}
