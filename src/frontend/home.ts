import type { LinkHolder } from '../backend/link-holder.ts';
import type { ServerConnection } from '../backend/server-connection.ts';

/**
 * The connection that can write which a session had last: it gets it again while there are enough. What it had before is nobody's now: others
 * may have it before the pool grows.
 * @returns the session's home from now on
 */
export function settleAt(
  connection: ServerConnection | null,
  before: ServerConnection | null,
  holder: LinkHolder,
): ServerConnection | null {
  if (before !== connection && before?.home === holder) before.home = null;
  return connection;
}
