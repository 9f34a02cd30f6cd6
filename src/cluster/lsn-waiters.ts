import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';

/**
 * A read that waits until some replica has replayed `lsn`, or the stream has told everything up to `told` (absent or null: that does not help it).
 * `wake` is called at most once per `add`.
 */
export type LsnWaiter = { readonly lsn: Lsn; readonly told?: Lsn | null; readonly wake: () => void };

/** Everybody who waits for a replay position. Woken waiters look again at where they may go. */
export class LsnWaiters {
  readonly #waiters = new Set<LsnWaiter>();
  #onDemand: () => void = () => {};
  /** The highest position that demand was told of while somebody waited. */
  #demanded: Lsn = LSN_ZERO;

  get size(): number {
    return this.#waiters.size;
  }

  /** The position that the most demanding of them waits for; zero when there is nobody. */
  get highest(): Lsn {
    let highest = LSN_ZERO;
    for (const { lsn } of this.#waiters) highest = maxLsn(highest, lsn);
    return highest;
  }

  add(waiter: LsnWaiter): void {
    this.#waiters.add(waiter);
    if (this.#waiters.size > 1 && waiter.lsn <= this.#demanded) return;
    this.#demanded = waiter.lsn;
    this.#onDemand();
  }

  remove(waiter: LsnWaiter): void {
    this.#waiters.delete(waiter);
  }

  /** A replica has replayed up to `replayLsn`. */
  advance(replayLsn: Lsn): void {
    // a copy: who is woken may have to wait again at once, and would be met again and again in the same round
    for (const waiter of [...this.#waiters]) {
      // a wake may have removed others
      if (waiter.lsn > replayLsn || !this.#waiters.delete(waiter)) continue;
      waiter.wake();
    }
  }

  /** The stream has told everything up to `asOf`. */
  told(asOf: Lsn): void {
    if (this.#waiters.size === 0) return;
    for (const waiter of [...this.#waiters]) {
      const { told = null } = waiter;
      if (told === null || told > asOf || !this.#waiters.delete(waiter)) continue;
      waiter.wake();
    }
  }

  /** The topology changed: everybody looks again. */
  wakeAll(): void {
    const all = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of all) waiter.wake();
  }

  /** For the writer of positions: called when the first waiter comes, and one that waits for more than those before it. */
  onDemand(listener: () => void): void {
    this.#onDemand = listener;
  }
}
