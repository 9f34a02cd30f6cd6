import { wallMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sleep } from '../core/sleep.ts';
import type { EpochRecord, FailoverStore } from './failover-store.ts';

const RETRY_MS = 1000;
/** A store that cannot be written this often is given up for this record; the log has it all the same. */
const TRIES = 60;
/** Happenings that somebody should look at. */
const GRAVE: ReadonlySet<string> = new Set([
  'failover',
  'halted',
  'fenced',
  'diverged',
  'promotion-failed',
  'suspect',
  'repoint-incomplete',
]);

/** Tells the log and the store what happened. Nothing waits for it: a slow store must not hold a failover up. */
export class Chronicle {
  readonly #store: FailoverStore;
  readonly #log: Log;
  readonly #stopping = new AbortController();
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
    this.#write(`event ${kind}`, 1, () => this.#store.recordEvent(event));
  }

  /** The epoch must be on the primary before the next one rises: tried again until it is. */
  epoch(record: EpochRecord): void {
    this.#write(`epoch ${record.epoch}`, TRIES, () => this.#store.recordEpoch(record));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.race([Promise.allSettled(this.#writing), sleep(RETRY_MS)]);
  }

  #write(what: string, tries: number, write: () => Promise<void>): void {
    const run = async () => {
      for (let i = 1; ; i++) {
        try {
          return await write();
        } catch (error) {
          if (i >= tries || this.#stopping.signal.aborted) {
            this.#log.warn({ err: error }, `cannot store ${what}: ${messageOf(error)}`);
            return;
          }
        }
        await sleep(RETRY_MS, this.#stopping.signal);
      }
    };
    const writing = run();
    this.#writing.add(writing);
    void writing.finally(() => this.#writing.delete(writing));
  }
}
