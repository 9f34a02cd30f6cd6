import type { ClientReport } from '../plane/plane.ts';
import type { ConsoleSession } from './console-session.ts';

/** Every operator's connection to the admin database. */
export class Consoles {
  readonly #sessions = new Set<ConsoleSession>();

  get size(): number {
    return this.#sessions.size;
  }

  reports(): ClientReport[] {
    return [...this.#sessions].map((session) => session.report());
  }

  /** @param pid that the operator's client was told. @returns false when there is no such one */
  close(pid: number): boolean {
    const session = [...this.#sessions].find(({ client }) => client.key.pid === pid);
    session?.close();
    return session !== undefined;
  }

  add(session: ConsoleSession): void {
    this.#sessions.add(session);
  }

  remove(session: ConsoleSession): void {
    this.#sessions.delete(session);
  }
}
