import { nowMs } from '../core/clock.ts';
import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import type { NodePosition } from './observations.ts';

const KEEP_ASKED = 8;

/**
 * Samples of the primary's insert position, taken on demand and shared. A session that wrote (or read) on the primary must see
 * everything up to a sample that was *started* after its answer came: it notes `next` and later needs `completed >= noted`.
 * The only writer is `monitor`.
 */
export class PrimarySamples {
  #started = 0;
  #completed = 0;
  #lsn: Lsn = LSN_ZERO;
  #timeline = 0;
  #wanted = false;
  #startedMs = 0;
  readonly #asked: NodePosition[] = [];
  #onDemand: () => void = () => {};
  readonly #waiters = new Set<{ readonly index: number; readonly wake: () => void }>();

  /** Index of the first sample that will start after now. */
  get next(): number {
    return this.#started + 1;
  }

  /** Index of the newest sample that is complete, 0 for none. */
  get completed(): number {
    return this.#completed;
  }

  /** Position of the newest complete sample. */
  get lsn(): Lsn {
    return this.#lsn;
  }

  get timeline(): number {
    return this.#timeline;
  }

  /** The newest complete samples with the time they were started, newest first. */
  get asked(): readonly NodePosition[] {
    return this.#asked;
  }

  /** True while somebody waits for a sample that has not started. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /**
   * Asks for sample `index`; `wake` runs once when it, or a later one, is complete.
   * @returns how to stop waiting
   */
  wait(index: number, wake: () => void): () => void {
    const waiter = { index, wake };
    this.#waiters.add(waiter);
    if (index > this.#started) {
      this.#wanted = true;
      this.#onDemand();
    }
    return () => {
      this.#waiters.delete(waiter);
    };
  }

  /** For the writer: called when a sample is wanted. */
  onDemand(listener: () => void): void {
    this.#onDemand = listener;
  }

  /** For the writer: a sample starts now. @returns its index. */
  start(): number {
    this.#wanted = false;
    this.#startedMs = nowMs();
    return ++this.#started;
  }

  /** For the writer: sample `index` answered. */
  complete(index: number, timeline: number, lsn: Lsn): void {
    if (index <= this.#completed) return;
    this.#completed = index;
    if (timeline !== this.#timeline) this.#asked.length = 0;
    this.#asked.unshift({ lsn, askedMs: this.#startedMs, answeredMs: nowMs() });
    if (this.#asked.length > KEEP_ASKED) this.#asked.pop();
    this.#timeline = timeline;
    this.#lsn = lsn;
    for (const waiter of [...this.#waiters]) {
      if (waiter.index <= index && this.#waiters.delete(waiter)) waiter.wake();
    }
  }

  /** For the writer: a sample failed. Whoever waits for it waits for the next; demand stays. */
  fail(): void {
    this.#wanted = this.#waiters.size > 0;
  }
}
