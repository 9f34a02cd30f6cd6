import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import type { LocalNode } from './local-node.ts';
import { makeOwned } from './places.ts';

/**
 * A process that was started as root becomes the owner of the data directory, for good and with the owner's groups: PostgreSQL does not run
 * as root, and files in directories of somebody else's are no place for root to write, for he may have laid links there.
 * @returns the node as it is seen from then on. @throws FairleadError refused where the owner could not do an agent's work
 */
export function dropPrivileges(node: LocalNode): LocalNode {
  const { owner, places } = node;
  if (owner === null || process.setuid === undefined) return node;
  // the directory above may be root's: then it is the only thing there that is the owner's
  if (!existsSync(places.beside)) makeOwned(places.beside, owner);
  // not in the types of Node 20
  (process as unknown as { initgroups(user: number, group: number): void }).initgroups(owner.uid, owner.gid);
  process.setgid?.(owner.gid);
  process.setuid(owner.uid);
  return { ...node, owner: null };
}

/** A clone takes the place of the data directory: for that the directory above has to be writable. @throws FairleadError refused */
export function requireWritable(data: string): void {
  const above = dirname(data);
  try {
    accessSync(above, constants.W_OK);
  } catch {
    throw new FairleadError(
      'refused',
      `user ${process.getuid?.() ?? ''} may not write to ${above}: a clone could not take the place of ${data}`,
      `let the owner of the data directory own ${above} too, or put the data one directory deeper`,
    );
  }
}
