import type { Verdict } from '../sql/verdict.ts';

/** A write that a client was told has happened. Its position is not known: asking for it would cost a question per write. */
export type AcknowledgedWrite = {
  /** Monotonic milliseconds when the answer came. */
  readonly atMs: number;
  /** Its statements, those of the whole transaction. */
  readonly verdicts: readonly Verdict[];
  /** The client's address. */
  readonly client: string;
};

/** The same as plain data. */
export type AcknowledgedTables = {
  readonly atMs: number;
  /** Those that its statements name, as `schema.table` where they say so. */
  readonly tables: readonly string[];
  readonly client: string;
};

/**
 * The last writes that were acknowledged through us, so that a failover can say which of them nothing proves to have survived. The only writer is
 * `frontend`.
 */
export class AcknowledgedWrites {
  readonly #capacity: number;
  readonly #ring: AcknowledgedWrite[] = [];
  #next = 0;

  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  record(write: AcknowledgedWrite): void {
    this.#ring[this.#next] = write;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** Those that were acknowledged after `atMs`, oldest first. */
  after(atMs: number): readonly AcknowledgedTables[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return ordered
      .filter((write) => write.atMs > atMs)
      .map((write) => {
        const names = write.verdicts
          .flatMap((verdict) => verdict.relations)
          .map(({ schema, name }) => (schema ? `${schema}.${name}` : name));
        return { atMs: write.atMs, tables: [...new Set(names)], client: write.client };
      });
  }
}
