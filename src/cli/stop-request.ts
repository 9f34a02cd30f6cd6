import { nowMs } from '../core/clock.ts';

type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** One Ctrl-C reaches the process group and comes again from npm, one `timeout` kills twice: that close together it is one wish. */
const SAME_WISH_MS = 1000;

/**
 * The user's wish to stop: the first signal asks, the second one insists and ends the process at once (what must be undone
 * then is undone by exit handlers).
 */
export class StopRequest {
  /** Resolves at the first signal. */
  readonly asked: Promise<void>;
  readonly #signals: readonly Signal[];
  readonly #listener: () => void;
  #askedMs: number | null = null;

  /** @param onAsked told at the first signal */
  constructor(onAsked: () => void, signals: readonly Signal[] = ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    this.#signals = signals;
    let resolve: () => void;
    this.asked = new Promise((done) => {
      resolve = done;
    });
    this.#listener = () => {
      const atMs = nowMs();
      if (this.#askedMs !== null) {
        if (atMs - this.#askedMs > SAME_WISH_MS) process.exit(1);
        return;
      }
      this.#askedMs = atMs;
      onAsked();
      resolve();
    };
    for (const signal of signals) process.on(signal, this.#listener);
  }

  get isAsked(): boolean {
    return this.#askedMs !== null;
  }

  dispose(): void {
    for (const signal of this.#signals) process.off(signal, this.#listener);
  }
}
