import type { ControlTarget } from '../backend/control-connection.ts';
import type { Observations } from '../cluster/observations.ts';
import { Backoff } from '../core/backoff.ts';
import { nowMs } from '../core/clock.ts';
import { parseLsn } from '../core/lsn.ts';
import { sleep } from '../core/sleep.ts';
import { PositionConnection } from './position-connection.ts';

const REPLAY_SQL = 'SELECT pg_last_wal_replay_lsn()';

/** Pause between two questions. */
const PAUSE_MS = 1;

/** Polls one replica's replay position at millisecond pace while somebody waits for it, and not at all otherwise. */
export class ReplayPoller {
  readonly #node: string;
  readonly #observations: Observations;
  readonly #connection: PositionConnection;
  readonly #wanted: () => boolean;
  readonly #backoff = new Backoff(50, 1000);
  #running = false;
  #stopped = false;

  /** @param wanted true while somebody waits */
  constructor(node: string, target: ControlTarget, observations: Observations, wanted: () => boolean) {
    this.#node = node;
    this.#observations = observations;
    this.#connection = new PositionConnection(target, REPLAY_SQL);
    this.#wanted = wanted;
  }

  /** Somebody waits: polls until nobody does. */
  wake(): void {
    if (this.#running || this.#stopped || !this.#useful()) return;
    this.#running = true;
    void this.#poll().finally(() => {
      this.#running = false;
    });
  }

  /** Gives up a question that is out since before `beforeMs`. */
  expire(beforeMs: number): void {
    this.#connection.expire(beforeMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#connection.close();
  }

  #useful(): boolean {
    const { last, failure } = this.#observations.of(this.#node);
    return failure === null && last?.role === 'replica' && this.#wanted();
  }

  async #poll(): Promise<void> {
    while (!this.#stopped && this.#useful()) {
      const askedMs = nowMs();
      try {
        const [text] = await this.#connection.ask();
        this.#backoff.reset();
        // null: promoted meanwhile, or nothing replayed yet
        if (text) this.#observations.advance(this.#node, { lsn: parseLsn(text), askedMs, answeredMs: nowMs() });
        await sleep(PAUSE_MS);
      } catch {
        // the prober tells what is wrong with the node; here it only means: not so fast
        await sleep(this.#backoff.next());
      }
    }
  }
}
