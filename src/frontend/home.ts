import type { LinkHolder } from '../backend/link-holder.ts';
import type { ServerConnection } from '../backend/server-connection.ts';

/** The connection that can write which a session had last: it gets it again while there are enough. */
export class Home {
  readonly #holder: LinkHolder;
  #connection: ServerConnection | null = null;

  constructor(holder: LinkHolder) {
    this.#holder = holder;
  }

  /** What the session had before is nobody's now: others may have it before the pool grows. */
  settleAt(connection: ServerConnection | null): void {
    const before = this.#connection;
    if (before !== connection && before?.home === this.#holder) before.home = null;
    this.#connection = connection;
  }
}
