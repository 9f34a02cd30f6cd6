import { wallMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sleep } from '../core/sleep.ts';
import type { EpochRecord, FailoverStore } from './failover-store.ts';

/** At the end the store gets this long. */
const FLUSH_MS = 1000;
/** Happenings that somebody should look at. */
const GRAVE: ReadonlySet<string> = new Set([
  'failover',
  'halted',
  'fenced',
  'diverged',
  'promotion-failed',
  'suspect',
  'repoint-incomplete',
  'data-loss-allowed',
  'journal-written',
  'journal-failed',
]);

/** Tells the log and the store what happened. Nothing waits for it: a slow store must not hold a failover up. */
export class Chronicle {
  readonly #store: FailoverStore;
  readonly #log: Log;
  readonly #writing = new Set<Promise<void>>();

  constructor(store: FailoverStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  event(kind: string, message: string, detail: object): void {
    const grave = GRAVE.has(kind);
    this.#log[grave ? 'warn' : 'info']({ event: kind, ...detail }, message);
    const node =
      (detail as { node?: string | null; to?: string | null }).node ?? (detail as { to?: string | null }).to ?? null;
    const event = { kind, message, node, detail, atMs: wallMs() };
    this.#write(`event ${kind}`, this.#store.recordEvent(event));
  }

  epoch(record: EpochRecord): void {
    this.#write(`epoch ${record.epoch}`, this.#store.recordEpoch(record));
  }

  async stop(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#writing), sleep(FLUSH_MS)]);
  }

  /** The store tries again by itself; that it did not succeed at once is worth a line and no more. */
  #write(what: string, write: Promise<void>): void {
    const writing = write
      .catch((error) => this.#log.info({ error: messageOf(error) }, `${what} is not stored yet`))
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }
}
