/** Commits on their way from the worker to the main thread: a few columns, not an object per commit. */

/** Flags of a commit: it touched more tables than are counted. */
export const OPAQUE = 1;
/** It changed what neither tables nor messages tell. */
export const UNTOLD = 2;
/** It changed more rows than are kept. */
export const ROWS_LEFT_OUT = 4;

export type CommitBatch = {
  readonly kind: 'commits';
  readonly endLsns: BigUint64Array<ArrayBuffer>;
  readonly commitMs: Float64Array<ArrayBuffer>;
  readonly flags: Uint8Array<ArrayBuffer>;
  /** Tables of commit i: `tables` from `tableEnds[i - 1]` (0 for the first) to `tableEnds[i]`. */
  readonly tableEnds: Uint32Array<ArrayBuffer>;
  /** Numbers of names; the first time a number is used its name is in a `names` of this or an earlier batch. */
  readonly tables: Uint32Array<ArrayBuffer>;
  /** Names whose numbers begin with `firstName`. */
  readonly names: readonly string[];
  readonly firstName: number;
  /** Contents of DDL messages, with the commit they belong to. */
  readonly ddl: readonly { readonly commit: number; readonly content: string }[];
  /** Ids of the transactions, 32 bits each. */
  readonly xids: Uint32Array<ArrayBuffer>;
  /** Rows as the stream told them, and how many bytes of that commit i has; those of a commit may have come with earlier batches. */
  readonly rows: readonly Uint8Array<ArrayBuffer>[];
  readonly rowBytes: Uint32Array<ArrayBuffer>;
};

/** What the worker tells. */
export type StreamMessage =
  /** The slot exists: everything that commits after `consistentLsn` will be told. */
  | { readonly kind: 'started'; readonly slot: string; readonly consistentLsn: string; readonly encoding: string }
  | CommitBatch
  /** Everything up to here was read; nothing that is told later ended before. */
  | { readonly kind: 'position'; readonly lsn: bigint }
  /** The server sent something, whatever it was. */
  | { readonly kind: 'heard' }
  /** The stream ended; the worker is about to exit. */
  | { readonly kind: 'failed'; readonly sqlState: string | null; readonly message: string };

/** One commit as the decoder has it. */
export type BatchedCommit = {
  readonly commitMs: number;
  readonly xid: number;
  readonly opaque: boolean;
  readonly untold: boolean;
  readonly tables: Iterable<string>;
  readonly ddl: readonly string[];
  readonly rows: { readonly copiedBytes: number; readonly leftOut: boolean };
};

/** Collects commits until `take`. */
export class BatchBuilder {
  readonly #numbers = new Map<string, number>();
  #endLsns: bigint[] = [];
  #commitMs: number[] = [];
  #flags: number[] = [];
  #tableEnds: number[] = [];
  #tables: number[] = [];
  #names: string[] = [];
  #ddl: { commit: number; content: string }[] = [];
  #xids: number[] = [];
  #rowBytes: number[] = [];

  get length(): number {
    return this.#endLsns.length;
  }

  add(endLsn: bigint, commit: BatchedCommit): void {
    for (const content of commit.ddl) this.#ddl.push({ commit: this.#endLsns.length, content });
    this.#xids.push(commit.xid);
    this.#rowBytes.push(commit.rows.copiedBytes);
    this.#endLsns.push(endLsn);
    this.#commitMs.push(commit.commitMs);
    this.#flags.push(
      (commit.opaque ? OPAQUE : 0) | (commit.untold ? UNTOLD : 0) | (commit.rows.leftOut ? ROWS_LEFT_OUT : 0),
    );
    if (!commit.opaque) for (const name of commit.tables) this.#tables.push(this.#numberOf(name));
    this.#tableEnds.push(this.#tables.length);
  }

  /** What was collected; the builder is empty afterwards. @param rows copied since the last call */
  take(rows: readonly Uint8Array<ArrayBuffer>[] = []): CommitBatch {
    const batch: CommitBatch = {
      kind: 'commits',
      endLsns: BigUint64Array.from(this.#endLsns),
      commitMs: Float64Array.from(this.#commitMs),
      flags: Uint8Array.from(this.#flags),
      tableEnds: Uint32Array.from(this.#tableEnds),
      tables: Uint32Array.from(this.#tables),
      names: this.#names,
      firstName: this.#numbers.size - this.#names.length,
      ddl: this.#ddl,
      xids: Uint32Array.from(this.#xids),
      rows,
      rowBytes: Uint32Array.from(this.#rowBytes),
    };
    this.#endLsns = [];
    this.#commitMs = [];
    this.#flags = [];
    this.#tableEnds = [];
    this.#tables = [];
    this.#names = [];
    this.#ddl = [];
    this.#xids = [];
    this.#rowBytes = [];
    return batch;
  }

  #numberOf(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(name, number);
    this.#names.push(name);
    return number;
  }
}

/** The arrays of a batch that change hands instead of being copied. */
export function transferOf(batch: CommitBatch): ArrayBuffer[] {
  const { endLsns, commitMs, flags, tableEnds, tables, xids, rows, rowBytes } = batch;
  return [endLsns, commitMs, flags, tableEnds, tables, xids, rowBytes, ...rows].map((a) => a.buffer);
}
