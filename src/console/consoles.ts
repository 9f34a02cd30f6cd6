import type { ConsoleSession } from './console-session.ts';

/** Every operator's connection to the admin database. */
export class Consoles {
  readonly #sessions = new Set<ConsoleSession>();

  all(): Iterable<ConsoleSession> {
    return this.#sessions;
  }

  get size(): number {
    return this.#sessions.size;
  }

  add(session: ConsoleSession): void {
    this.#sessions.add(session);
  }

  remove(session: ConsoleSession): void {
    this.#sessions.delete(session);
  }
}
