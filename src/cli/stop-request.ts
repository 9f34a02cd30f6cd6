const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The user's wish to stop: the first signal asks, the second one insists and ends the process at once (what must be undone
 * then is undone by exit handlers).
 */
export class StopRequest {
  /** Resolves at the first signal. */
  readonly asked: Promise<void>;
  readonly #listener: () => void;
  #count = 0;

  /** @param onAsked told at the first signal */
  constructor(onAsked: () => void) {
    let resolve: () => void;
    this.asked = new Promise((done) => {
      resolve = done;
    });
    this.#listener = () => {
      this.#count++;
      if (this.#count > 1) process.exit(1);
      onAsked();
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  get isAsked(): boolean {
    return this.#count > 0;
  }

  dispose(): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}
