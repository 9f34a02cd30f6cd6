import { nowMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Sessions } from './sessions.ts';

/**
 * `now`: clients are ended. `drain`: no new clients, those there are ended as soon as they are idle outside of a transaction, all of them
 * after a time. `wait`: no new clients, those there leave by themselves.
 */
export type ShutdownMode = 'now' | 'drain' | 'wait';

export type ShutdownDependencies = {
  readonly lifecycle: Lifecycle;
  readonly sessions: Sessions;
  /** Clients that are there, replication connections included, operators not. */
  clients(): number;
  readonly log: Log;
  /** How long `drain` waits, milliseconds; 0: as long as it takes. */
  timeoutMs(): number;
  /** Ends everything. */
  stop(): Promise<void>;
};

/** How often it is looked whether clients are still there. */
const LOOK_MS = 20;

/** The way to the end of the program. A later wish may hasten it. */
export class Shutdown {
  readonly #deps: ShutdownDependencies;
  /** Resolves when nothing runs any more. */
  readonly done: Promise<void>;
  #resolve: (stopped: Promise<void>) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #untilMs = Number.POSITIVE_INFINITY;
  #stopping = false;

  constructor(deps: ShutdownDependencies) {
    this.#deps = deps;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    // whoever began it may not care how it ended
    this.done.catch(() => {});
  }

  begin(mode: ShutdownMode): Promise<void> {
    const { lifecycle, sessions, log } = this.#deps;
    if (this.#stopping) return this.done;
    log.info({ mode, clients: sessions.size }, 'shutting down');
    if (mode === 'now') this.#stop();
    else {
      if (mode === 'wait') lifecycle.wait();
      else {
        lifecycle.drain();
        sessions.drain();
        const limitMs = this.#deps.timeoutMs();
        if (limitMs > 0) this.#untilMs = Math.min(this.#untilMs, nowMs() + limitMs);
      }
      this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
      this.#look();
    }
    return this.done;
  }

  #look(): void {
    const { sessions, lifecycle, log } = this.#deps;
    // what streams has no transaction to wait for
    const left = lifecycle.draining ? sessions.size : this.#deps.clients();
    if (left > 0 && nowMs() < this.#untilMs) return;
    if (left > 0) log.warn({ clients: left }, 'shutdown_timeout is over: ending clients as they are');
    this.#stop();
  }

  #stop(): void {
    this.#stopping = true;
    clearInterval(this.#timer);
    this.#resolve(this.#deps.stop());
  }
}
