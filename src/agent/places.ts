/**
 * The data directory and what stands beside it: `DATA.fairlead` holds a clone that is being made, the directory that it replaced, the
 * node's own configuration files, and the mark of a rewind under way. Everything there may be found half done after a kill.
 */
import { chownSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import { type UnprivilegedUser, unprivilegedUser } from '../embedded/unprivileged-user.ts';

export type Places = {
  readonly data: string;
  readonly beside: string;
  /** A clone under way, or ready to be moved. */
  readonly fresh: string;
  /** Says that `fresh` is whole. */
  readonly complete: string;
  /** What the clone replaced, until the server runs. */
  readonly old: string;
  /** The node's own configuration files, as they were before. */
  readonly kept: string;
  /** A rewind has begun to change `data`: until it is gone, nothing may be started there. */
  readonly rewinding: string;
  /** What a server says that the agent started, as far as it has no log of its own. */
  readonly serverLog: string;
};

export function placesOf(data: string): Places {
  const beside = join(dirname(data), `${basename(data)}.fairlead`);
  return {
    data,
    beside,
    fresh: join(beside, 'new'),
    complete: join(beside, 'complete'),
    old: join(beside, 'old'),
    kept: join(beside, 'kept'),
    rewinding: join(beside, 'rewinding'),
    serverLog: join(beside, 'server.log'),
  };
}

/**
 * Who owns the data directory, or would own it: programs of the server run as that user.
 * @returns null when that is who we are. @throws FairleadError refused when we may not become that user.
 */
export function ownerOf(data: string): UnprivilegedUser | null {
  const self = process.getuid?.();
  if (self === undefined) return null;
  const place = existsSync(data) ? data : dirname(data);
  const { uid, gid } = statSync(place);
  if (self !== 0) {
    if (uid === self || !existsSync(data)) return null;
    throw new FairleadError(
      'refused',
      `${data} belongs to user ${uid}, and this is user ${self}`,
      'start the agent as the owner of the data directory, or as root',
    );
  }
  // PostgreSQL does not run as root, so a directory of root's was not made by it
  return uid === 0 ? unprivilegedUser() : { name: `user ${uid}`, uid, gid };
}

export function makeOwned(path: string, owner: UnprivilegedUser | null): void {
  mkdirSync(path, { mode: 0o700, recursive: true });
  if (owner !== null) chownSync(path, owner.uid, owner.gid);
}

export function writeOwnedFile(path: string, text: string, owner: UnprivilegedUser | null): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600, flush: true });
  if (owner !== null) chownSync(temporary, owner.uid, owner.gid);
  renameSync(temporary, path);
}

export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

/**
 * Moves the finished clone into place. Between its two renames the data directory is missing; `finishMove` completes that.
 * @throws FairleadError refused for a directory that cannot be renamed.
 */
export function moveIntoPlace(places: Places): void {
  if (existsSync(places.data)) {
    removeTree(places.old);
    try {
      renameSync(places.data, places.old);
    } catch (error) {
      throw new FairleadError(
        'refused',
        `${places.data} cannot be renamed: ${(error as Error).message}`,
        'a mount point or a symbolic link cannot be replaced: put the data directory below it',
      );
    }
  }
  renameSync(places.fresh, places.data);
  rmSync(places.complete, { force: true });
}

/** A data directory must be one that can be renamed. @throws FairleadError refused */
export function requireMovable(data: string): void {
  if (!existsSync(data)) return;
  const mounted = statSync(data).dev !== statSync(dirname(data)).dev;
  if (!mounted && !lstatSync(data).isSymbolicLink()) return;
  throw new FairleadError(
    'refused',
    `${data} is a mount point or a symbolic link: a clone cannot take its place`,
    'name the real directory, and put it below the mount point',
  );
}

/** After a kill in the middle of a move: goes on with it, or back. @returns what was done, or null */
export function finishMove(places: Places): string | null {
  if (existsSync(places.data)) return null;
  if (existsSync(places.complete) && existsSync(places.fresh)) {
    renameSync(places.fresh, places.data);
    rmSync(places.complete, { force: true });
    return 'moved a finished clone into place';
  }
  if (!existsSync(places.old)) return null;
  renameSync(places.old, places.data);
  return 'put the old data directory back';
}
