import { nowMs } from '../core/clock.ts';
import type { SharedConnection } from './shared-connection.ts';

const WATCH_MS = 10;

/** Looks at shared connections every few milliseconds, while there are any: one timer for all. */
export class StallWatch {
  readonly #shared = new Set<SharedConnection>();
  #timer: NodeJS.Timeout | undefined;

  add(shared: SharedConnection): void {
    this.#shared.add(shared);
    this.#timer ??= setInterval(() => this.#look(), WATCH_MS).unref();
  }

  remove(shared: SharedConnection): void {
    this.#shared.delete(shared);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#shared.clear();
  }

  #look(): void {
    const atMs = nowMs();
    for (const shared of [...this.#shared]) shared.watch(atMs);
    if (this.#shared.size === 0) this.stop();
  }
}
