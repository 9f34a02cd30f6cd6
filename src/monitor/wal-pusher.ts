import type { ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { Backoff } from '../core/backoff.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { parseLsn } from '../core/lsn.ts';
import { sleep } from '../core/sleep.ts';
import { PositionConnection } from './position-connection.ts';
import { LAST_TINY_COMMIT_SQL } from './tiny-commit.ts';

const FLUSHED_SQL = 'SELECT pg_current_wal_flush_lsn()';

/** WAL that somebody commits is flushed and replayed sooner than this: then nothing is asked. */
const PATIENCE_MS = 3;
const PAUSE_MS = 5;

/**
 * Has the primary flush WAL that a read waits for. A NOTIFY, `nextval`, ROLLBACK, a commit with synchronous_commit off, even a read that tidies
 * a page write WAL which nobody flushes but the walwriter, up to 200 ms later (wal_writer_delay): the next read of that session, and the
 * first one of a new session, would wait in vain for a replica to have it.
 */
export class WalPusher {
  readonly #cluster: Cluster;
  readonly #target: (node: string) => ControlTarget;
  readonly #log: Log;
  readonly #backoff = new Backoff(50, 1000);
  #node: string | null = null;
  #flushed: PositionConnection | null = null;
  #push: PositionConnection | null = null;
  #running = false;
  #stopped = false;

  constructor(cluster: Cluster, target: (node: string) => ControlTarget, log: Log) {
    this.#cluster = cluster;
    this.#target = target;
    this.#log = log;
  }

  /** Somebody waits for a replica: looks after it until nobody does. */
  wake(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    void this.#attend().finally(() => {
      this.#running = false;
    });
  }

  /** Gives up a question that is out since before `beforeMs`. */
  expire(beforeMs: number): void {
    this.#flushed?.expire(beforeMs);
    this.#push?.expire(beforeMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#drop();
  }

  async #attend(): Promise<void> {
    const { waiters, assignment } = this.#cluster;
    await sleep(PATIENCE_MS);
    while (!this.#stopped && waiters.size > 0) {
      const primary = assignment.value.primary ?? assignment.value.handingOver;
      if (primary === null) return this.#drop();
      try {
        await this.#look(primary);
        this.#backoff.reset();
        await sleep(PAUSE_MS);
      } catch (error) {
        // the prober tells what is wrong with the node
        this.#log.debug({ node: primary, error: messageOf(error) }, 'unflushed WAL was not looked for');
        await sleep(this.#backoff.next());
      }
    }
  }

  async #look(primary: string): Promise<void> {
    if (this.#node !== primary) this.#drop();
    this.#node = primary;
    this.#flushed ??= new PositionConnection(this.#target(primary), FLUSHED_SQL);
    const [flushed] = await this.#flushed.ask();
    if (!flushed || this.#stopped || this.#cluster.waiters.highest <= parseLsn(flushed)) return;
    this.#push ??= new PositionConnection(this.#target(primary), LAST_TINY_COMMIT_SQL);
    await this.#push.ask();
  }

  #drop(): void {
    this.#flushed?.close();
    this.#push?.close();
    this.#flushed = null;
    this.#push = null;
    this.#node = null;
  }
}
