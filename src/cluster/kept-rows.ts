import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import { Queue } from '../core/queue.ts';

/** A commit of the stream with what it changed. */
export type KeptCommit = {
  readonly endLsn: Lsn;
  /** Commit time by the primary's clock, wall milliseconds. */
  readonly commitMs: number;
  /** Transaction id, 32 bits. */
  readonly xid: number;
  readonly tables: readonly string[];
  /** It changed the schema. */
  readonly ddl: boolean;
  /** Messages of the stream about rows, each behind its length; null: more than is kept of one transaction. */
  readonly rows: readonly Uint8Array[] | null;
};

/** What a commit costs beside its rows, about. */
const COMMIT_BYTES = 256;
const PIECE_BYTES = 128;

/**
 * Rows of the commits that may be lost yet: those that not every replica which could be promoted is known to have. As many as fit into
 * a budget, the newest ones. The only writer is `replication`; failover reads them when commits were lost.
 */
export class KeptRows {
  /** 0: nothing is kept. */
  budgetBytes = 0;
  /** Of the database, as PostgreSQL names it; the stream speaks it. */
  encoding = 'UTF8';
  readonly #commits = new Queue<KeptCommit>();
  /** Pieces whose commit was not told yet, and how much of the first one belongs to commits that were. */
  readonly #waiting = new Queue<Uint8Array>();
  #offset = 0;
  #bytes = 0;
  #keptFrom: Lsn = LSN_ZERO;

  get bytes(): number {
    return this.#bytes;
  }

  /** Commits that end after this and changed rows are all here. */
  get keptFrom(): Lsn {
    return this.#keptFrom;
  }

  /** What a transaction may have: a single large one does not push out all others. */
  get transactionBytes(): number {
    return Math.min(Math.floor(this.budgetBytes / 2), MOST_OF_ONE);
  }

  /** Rows in stream order; `record` says which commit they belong to. */
  receive(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) this.#waiting.push(piece);
  }

  /** @param bytes of what was received and is not recorded yet, that much is this commit's */
  record(commit: Omit<KeptCommit, 'rows'>, bytes: number, leftOut: boolean): void {
    const rows = leftOut ? this.#skip(bytes) : this.#shift(bytes);
    if (this.budgetBytes === 0 || (bytes === 0 && !leftOut && !commit.ddl)) return;
    const kept: KeptCommit = { ...commit, rows };
    this.#commits.push(kept);
    this.#bytes += sizeOf(kept);
    while (this.#bytes > this.budgetBytes) this.#drop();
  }

  /** Whoever may be promoted has everything up to there. */
  release(upTo: Lsn): void {
    for (let first = this.#commits.peek(); first !== undefined && first.endLsn <= upTo; first = this.#commits.peek()) {
      this.#drop();
    }
  }

  /** What committed before `position` may not have been told. */
  gap(position: Lsn): void {
    this.#waiting.clear();
    this.#offset = 0;
    this.#keptFrom = maxLsn(this.#keptFrom, position);
  }

  /** Commits that end after `position`, oldest first. */
  after(position: Lsn): readonly KeptCommit[] {
    return [...this.#commits].filter((commit) => commit.endLsn > position);
  }

  /** Forgets everything: positions of a timeline that was left mean nothing on the next. */
  reset(): void {
    this.#commits.clear();
    this.#bytes = 0;
    this.gap(LSN_ZERO);
    this.#keptFrom = LSN_ZERO;
  }

  #drop(): void {
    const commit = this.#commits.shift() as KeptCommit;
    this.#bytes -= sizeOf(commit);
    this.#keptFrom = maxLsn(this.#keptFrom, commit.endLsn);
  }

  #skip(bytes: number): null {
    this.#shift(bytes);
    return null;
  }

  /** Null when less has come than was announced. */
  #shift(bytes: number): Uint8Array[] | null {
    const rows: Uint8Array[] = [];
    for (let left = bytes; left > 0; ) {
      const piece = this.#waiting.peek();
      if (piece === undefined) return null;
      const end = Math.min(piece.length, this.#offset + left);
      rows.push(piece.subarray(this.#offset, end));
      left -= end - this.#offset;
      this.#offset = end;
      if (end < piece.length) continue;
      this.#waiting.shift();
      this.#offset = 0;
    }
    return rows;
  }
}

/** A transaction becomes one line of a file and is decoded as a whole. */
const MOST_OF_ONE = 128 * 1024 * 1024;

function sizeOf({ rows }: KeptCommit): number {
  return (rows ?? []).reduce((sum, piece) => sum + piece.length + PIECE_BYTES, COMMIT_BYTES);
}
