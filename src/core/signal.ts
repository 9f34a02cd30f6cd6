/** One value with one writer and any number of readers; a reader is called after each replacement. */
export class Signal<T> {
  #value: T;
  readonly #listeners = new Set<(value: T, previous: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Replaces the value; listeners run synchronously, in the order they subscribed. The same value notifies nobody. */
  set(value: T): void {
    const previous = this.#value;
    if (Object.is(previous, value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value, previous);
  }

  /** @returns the function that unsubscribes. */
  subscribe(listener: (value: T, previous: T) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves with the first value, now or later, that passes; rejects with `signal.reason` when aborted. */
  when(passes: (value: T) => boolean, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      if (passes(this.#value)) return resolve(this.#value);
      const stop = this.subscribe((value) => {
        if (!passes(value)) return;
        end();
        resolve(value);
      });
      const abort = () => {
        end();
        reject(signal?.reason);
      };
      const end = () => {
        stop();
        signal?.removeEventListener('abort', abort);
      };
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort);
    });
  }
}
