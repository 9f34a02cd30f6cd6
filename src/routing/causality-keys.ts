/** How far what sessions of one key have written reaches: up to the position of a sample of the primary with this index, or a later one. */
type Reach = { sample: number };

/** What sessions with one key have written. As long as one of them is there, all of them have the same. */
export class SharedWrites {
  readonly #reach: Reach;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  /** Index of the sample that covers all of it, 0 while nothing was written. */
  get sample(): number {
    return this.#reach.sample;
  }

  /** @param nextSample the first that will be started after the write was acknowledged */
  written(nextSample: number): void {
    this.#reach.sample = Math.max(this.#reach.sample, nextSample);
  }
}

/**
 * Sessions that read each other's writes: `SET fairlead.causality = 'user:42'`. A key that no session has any more is forgotten, and what was written
 * under all such keys is remembered as one: whoever takes one of them later sees it all the same.
 */
export class CausalityKeys {
  readonly #known = new Map<string, { readonly writes: WeakRef<SharedWrites>; readonly reach: Reach }>();
  /** Sessions with the same key may be served by other processes. */
  readonly apart: boolean;
  #forgotten = 0;
  readonly #unused = new FinalizationRegistry<string>((key) => this.#forget(key));

  constructor(apart: boolean) {
    this.apart = apart;
  }

  get size(): number {
    return this.#known.size;
  }

  of(key: string): SharedWrites {
    const known = this.#known.get(key);
    const writes = known?.writes.deref();
    if (writes !== undefined) return writes;
    const reach = { sample: Math.max(this.#forgotten, known?.reach.sample ?? 0) };
    const fresh = new SharedWrites(reach);
    this.#known.set(key, { writes: new WeakRef(fresh), reach });
    this.#unused.register(fresh, key);
    return fresh;
  }

  #forget(key: string): void {
    const known = this.#known.get(key);
    // somebody may have taken it again
    if (known === undefined || known.writes.deref() !== undefined) return;
    this.#forgotten = Math.max(this.#forgotten, known.reach.sample);
    this.#known.delete(key);
  }
}
