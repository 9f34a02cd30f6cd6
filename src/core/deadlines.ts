import { nowMs } from './clock.ts';

/** Something with at most one deadline; the fields belong to `Deadlines`. */
export type Expiring = {
  /** Monotonic milliseconds, or Infinity for none. */
  deadlineMs: number;
  expire(): void;
};

/** All deadlines of one kind of owner, swept by one unref'ed interval: no timer per statement. */
export class Deadlines {
  readonly #owners = new Set<Expiring>();
  readonly #sweepMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param sweepMs how late a deadline may be noticed */
  constructor(sweepMs = 50) {
    this.#sweepMs = sweepMs;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sweep(nowMs()), this.#sweepMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#owners.clear();
  }

  /** Sets or replaces the owner's deadline. */
  set(owner: Expiring, deadlineMs: number): void {
    owner.deadlineMs = deadlineMs;
    if (deadlineMs === Number.POSITIVE_INFINITY) this.#owners.delete(owner);
    else this.#owners.add(owner);
  }

  clear(owner: Expiring): void {
    if (owner.deadlineMs === Number.POSITIVE_INFINITY) return;
    owner.deadlineMs = Number.POSITIVE_INFINITY;
    this.#owners.delete(owner);
  }

  sweep(atMs: number): void {
    let due: Expiring[] | null = null;
    for (const owner of this.#owners) {
      if (owner.deadlineMs > atMs) continue;
      due ??= [];
      due.push(owner);
    }
    if (due === null) return;
    // whoever sets a deadline anew when it expires is looked at in the next sweep, even if that one has passed too
    for (const owner of due) {
      if (owner.deadlineMs > atMs) continue;
      owner.deadlineMs = Number.POSITIVE_INFINITY;
      this.#owners.delete(owner);
      owner.expire();
    }
  }
}
