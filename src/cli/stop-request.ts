import { nowMs } from '../core/clock.ts';

type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGQUIT';

/** One Ctrl-C reaches the process group and comes again from npm, one `timeout` kills twice: that close together it is one wish. */
const SAME_WISH_MS = 1000;

/**
 * The user's wish to stop: the first signal asks, the second one insists, which by itself ends the process at once (what must be
 * undone then is undone by exit handlers).
 */
export class StopRequest {
  /** Resolves at the first signal, with that. */
  readonly asked: Promise<Signal>;
  readonly #signals: readonly Signal[];
  readonly #listener: (signal: Signal) => void;
  #asked: { readonly signal: Signal; readonly atMs: number } | null = null;

  /**
   * @param onAsked told at the first signal
   * @param onInsisted told at every later one
   */
  constructor(
    onAsked: (signal: Signal) => void,
    signals: readonly Signal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'],
    onInsisted: () => void = () => process.exit(1),
  ) {
    this.#signals = signals;
    let resolve: (signal: Signal) => void;
    this.asked = new Promise((done) => {
      resolve = done;
    });
    this.#listener = (signal) => {
      const atMs = nowMs();
      if (this.#asked !== null) {
        if (signal !== this.#asked.signal || atMs - this.#asked.atMs > SAME_WISH_MS) onInsisted();
        return;
      }
      this.#asked = { signal, atMs };
      onAsked(signal);
      resolve(signal);
    };
    for (const signal of signals) process.on(signal, this.#listener);
  }

  get isAsked(): boolean {
    return this.#asked !== null;
  }

  dispose(): void {
    for (const signal of this.#signals) process.off(signal, this.#listener);
  }
}
