import type { ControlTarget } from '../backend/control-connection.ts';
import type { Observation } from '../cluster/observation.ts';
import type { NodePosition, Observations } from '../cluster/observations.ts';
import { Backoff } from '../core/backoff.ts';
import { nowMs } from '../core/clock.ts';
import { maxLsn, parseLsn } from '../core/lsn.ts';
import { sleep } from '../core/sleep.ts';
import { PositionConnection } from './position-connection.ts';
import { positionSql } from './subscriber-probe.ts';

/** How a node is asked where it is. */
export type PositionQuestion = {
  readonly sql: string;
  /** @returns null when the answer tells no position */
  read(row: readonly (string | null)[], last: Observation): Pick<NodePosition, 'lsn' | 'reachLsn'> | null;
};

export const REPLAY_QUESTION: PositionQuestion = {
  sql: 'SELECT pg_last_wal_replay_lsn()',
  // null: promoted meanwhile, or nothing replayed yet
  read: ([text]) => (text ? { lsn: parseLsn(text) } : null),
};

export function appliedQuestion(subscription: string): PositionQuestion {
  return {
    sql: positionSql(subscription),
    read([worker, applied, progress], { subscription: known }) {
      // another worker may receive from elsewhere, until a probe has looked into that
      if (!worker || !applied || !progress || known === undefined || known.worker !== worker) return null;
      const lsn = parseLsn(applied);
      return { lsn, reachLsn: maxLsn(maxLsn(lsn, parseLsn(progress)), known.reachLsn) };
    },
  };
}

/** Pause between two questions. */
const PAUSE_MS = 1;

/** Polls one replica's position at millisecond pace while somebody waits for it, and not at all otherwise. */
export class ReplayPoller {
  readonly #node: string;
  readonly #observations: Observations;
  readonly #connection: PositionConnection;
  readonly #wanted: () => boolean;
  readonly #question: PositionQuestion;
  readonly #backoff = new Backoff(50, 1000);
  #running = false;
  #stopped = false;

  /** @param wanted true while somebody waits */
  constructor(
    node: string,
    target: ControlTarget,
    observations: Observations,
    wanted: () => boolean,
    question: PositionQuestion = REPLAY_QUESTION,
  ) {
    this.#node = node;
    this.#observations = observations;
    this.#question = question;
    this.#connection = new PositionConnection(target, question.sql);
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
    return failure === null && last !== null && last.role !== 'primary' && this.#wanted();
  }

  async #poll(): Promise<void> {
    while (!this.#stopped && this.#useful()) {
      const askedMs = nowMs();
      try {
        const row = await this.#connection.ask();
        this.#backoff.reset();
        const { last } = this.#observations.of(this.#node);
        const position = last === null ? null : this.#question.read(row, last);
        if (position !== null) this.#observations.advance(this.#node, { ...position, askedMs, answeredMs: nowMs() });
        await sleep(PAUSE_MS);
      } catch {
        // the prober tells what is wrong with the node; here it only means: not so fast
        await sleep(this.#backoff.next());
      }
    }
  }
}
