import { nowMs } from '../core/clock.ts';
import type { Deadlines, Expiring } from '../core/deadlines.ts';
import { FairleadError } from '../core/errors.ts';
import type { SessionSettings } from './session-settings.ts';

export type ClockHost = {
  /** Since when a server works on the request at hand, monotonic milliseconds; null while it waits for one. */
  readonly runningSinceMs: number | null;
  cancelRunning(): void;
  terminate(error: FairleadError): void;
};

type Measured = 'idle' | 'idle in transaction' | 'statement' | 'cancelled statement';

/** A statement that goes on for so long after it was cancelled is ended with its session. */
const CANCEL_GRACE_MS = 5000;

/** How long a session may be idle, idle in a transaction, or run one statement. */
export class SessionClock implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #deadlines: Deadlines;
  readonly #settings: SessionSettings;
  readonly #host: ClockHost;
  #measures: Measured = 'idle';

  constructor(deadlines: Deadlines, settings: SessionSettings, host: ClockHost) {
    this.#deadlines = deadlines;
    this.#settings = settings;
    this.#host = host;
  }

  /** The session waits for its client. */
  rested(inTransaction: boolean): void {
    const { idleTransactionTimeoutMs, clientIdleTimeoutMs } = this.#settings.now;
    this.#measure(
      inTransaction ? 'idle in transaction' : 'idle',
      inTransaction ? idleTransactionTimeoutMs : clientIdleTimeoutMs,
    );
  }

  /** A request has begun. */
  began(): void {
    this.#measure('statement', this.#settings.now.queryTimeoutMs);
  }

  stop(): void {
    this.#deadlines.clear(this);
  }

  expire(): void {
    switch (this.#measures) {
      case 'idle': {
        const text = 'terminating connection due to client_idle_timeout';
        return this.#host.terminate(new FairleadError('idle_client', text));
      }
      case 'idle in transaction': {
        const text = 'terminating connection due to idle-in-transaction timeout';
        return this.#host.terminate(new FairleadError('idle_in_transaction', text));
      }
      case 'statement': {
        const { queryTimeoutMs } = this.#settings.now;
        const { runningSinceMs } = this.#host;
        const atMs = nowMs();
        const untilMs = (runningSinceMs ?? atMs) + queryTimeoutMs;
        if (queryTimeoutMs === 0) return;
        if (untilMs > atMs) return this.#deadlines.set(this, untilMs);
        this.#measure('cancelled statement', CANCEL_GRACE_MS);
        return this.#host.cancelRunning();
      }
      case 'cancelled statement': {
        const text = 'terminating connection due to query_timeout';
        return this.#host.terminate(new FairleadError('query_timeout', text));
      }
      default:
        this.#measures satisfies never;
    }
  }

  #measure(what: Measured, limitMs: number): void {
    this.#measures = what;
    if (limitMs > 0) this.#deadlines.set(this, nowMs() + limitMs);
    else this.#deadlines.clear(this);
  }
}
