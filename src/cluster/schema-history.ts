/** Transactions that changed the schema are remembered one by one up to so many, beyond that by the newest of them. */
const MAX_XIDS = 256;

/**
 * Transactions that changed the schema, as the stream told them. A catalog can be compared with what the stream knows only if it shows all of
 * them: one that was read while such a transaction had ended in the WAL, but was not visible yet, does not.
 */
export class SchemaHistory {
  /** Rises with each change. */
  version = 0;
  /** Transactions of the last changes, 32 bits each. */
  #xids: number[] = [];
  /** Transactions were forgotten while the next was null. */
  #lost = false;
  /** All transactions before this one must have ended; null: nothing was told yet, and no catalog will do. */
  #floor: bigint | null = null;

  /** A new stream: what happened before is bounded by `startedBefore`, once that is known. */
  reset(): void {
    this.version++;
    this.#xids = [];
    this.#lost = false;
    this.#floor = null;
  }

  /**
   * Every transaction that changed the schema before the question for it has a smaller id.
   * @param xid 64 bits
   * @returns false when too much has happened since: it has to be asked again
   */
  startedBefore(xid: bigint): boolean {
    this.version++;
    if (!this.#lost) this.#floor = xid;
    const { live } = this;
    this.#lost = false;
    return live;
  }

  /** @param xid 32 bits, as the stream has it */
  changed(xid: number): void {
    this.version++;
    if (this.#xids.at(-1) === xid) return;
    if (this.#xids.push(xid) <= MAX_XIDS) return;
    if (this.#floor === null) {
      // whoever asks what comes before the stream has to ask once more
      this.#xids = [];
      this.#lost = true;
      return;
    }
    // ids rise, but not in the order of commits: all of them count
    let floor = this.#floor;
    for (const one of this.#xids.splice(0)) {
      const next = widen(one, floor) + 1n;
      if (next > floor) floor = next;
    }
    this.#floor = floor;
  }

  /** True while changes are told. */
  get live(): boolean {
    return this.#floor !== null;
  }

  /** True when a catalog that was read with this snapshot, as `pg_current_snapshot()` prints it, shows every change that was told. */
  shows(snapshot: string): boolean {
    const [xmin, xmax, running] = parseSnapshot(snapshot);
    if (this.#floor === null || xmin < this.#floor) return false;
    return this.#xids.every((xid) => {
      const full = widen(xid, xmax);
      return full < xmin || (full < xmax && !running.has(full));
    });
  }

  /** For a copy: what makes an empty history the same as this one. */
  get state(): SchemaState {
    return { version: this.version, xids: [...this.#xids], floor: this.#floor };
  }

  restore({ version, xids, floor }: SchemaState): void {
    this.version = version;
    this.#xids = [...xids];
    this.#floor = floor;
  }
}

export type SchemaState = { readonly version: number; readonly xids: readonly number[]; readonly floor: bigint | null };

const WRAP = 1n << 32n;

/** The id of 64 bits that ends in these 32 and is nearest to another. */
function widen(xid: number, near: bigint): bigint {
  const full = (near / WRAP) * WRAP + BigInt(xid);
  if (full > near + WRAP / 2n) return full - WRAP;
  return full + WRAP / 2n < near ? full + WRAP : full;
}

function parseSnapshot(text: string): [bigint, bigint, ReadonlySet<bigint>] {
  const [xmin, xmax, running] = text.split(':') as [string, string, string];
  return [BigInt(xmin), BigInt(xmax), new Set(running === '' ? [] : running.split(',').map(BigInt))];
}
