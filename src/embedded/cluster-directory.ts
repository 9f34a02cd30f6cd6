/**
 * The directory of one throw-away cluster, and the removal of those that crashed runs left behind. Each cluster has a
 * directory `fairlead-…` in the system's temporary directory with a file that names its owner; the data may lie elsewhere.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FairleadError, messageOf } from '../core/errors.ts';
import { killAllOf, processStartTime, removeSharedMemoryOf } from './postgres-processes.ts';

const OWNER_FILE = 'owner.json';
const PREFIX = 'fairlead-';

type Owner = {
  readonly pid: number;
  /** Tells a reused pid from the owner's. */
  readonly startTime: string | null;
  /** Where the nodes' directories are. */
  readonly data: string;
  /** Whether `data` itself is to be removed too, or was there before. */
  readonly ownsData: boolean;
};

/** Where a cluster lives; `remove()` ends what still runs in it. */
export type ClusterDirectory = {
  /** Holds the nodes' data directories. */
  readonly data: string;
  /** Holds what else the cluster needs; everybody may pass through it. */
  readonly scratch: string;
  remove(): void;
};

/**
 * @param dataDir where the user wants the data: new or empty; null: below the temporary directory
 * @throws FairleadError bad_arguments when that directory will not do.
 */
export function makeClusterDirectory(dataDir: string | null, temporary = tmpdir()): ClusterDirectory {
  // resolved, because the kernel shows a process's directory without links
  const scratch = mkdtempSync(join(realpathSync(temporary), PREFIX));
  const data = dataDir === null ? join(scratch, 'data') : resolve(dataDir);
  let ownsData = true;
  try {
    if (dataDir !== null) ownsData = prepareDataDirectory(data);
    const real = dataDir === null ? data : realpathSync(data);
    const owner: Owner = { pid: process.pid, startTime: processStartTime(process.pid), data: real, ownsData };
    writeFileSync(join(scratch, OWNER_FILE), JSON.stringify(owner), { mode: 0o600 });
    // PostgreSQL's user must be able to pass through; the nodes' own directories are closed to everybody else
    chmodSync(scratch, 0o711);
    if (dataDir === null) mkdirSync(data, { mode: 0o711 });
    return { data: real, scratch, remove: () => removeWithServers(scratch, owner) };
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true });
    throw error;
  }
}

/** Stops the servers and removes the directories of owners that are dead. @returns the directories removed. */
export function removeAbandonedClusters(temporary = tmpdir()): string[] {
  const base = realpathSync(temporary);
  return readdirSync(base).flatMap((name) => {
    const scratch = join(base, name);
    const owner = name.startsWith(PREFIX) ? readOwner(scratch) : null;
    if (owner === null || isAlive(owner)) return [];
    removeWithServers(scratch, owner);
    return [owner.data];
  });
}

function isAlive(owner: Owner): boolean {
  const startTime = processStartTime(owner.pid);
  return startTime !== null && startTime === owner.startTime;
}

/** Only a file that this user wrote, in a directory of this user's, is believed: others may write to /tmp as well. */
function readOwner(scratch: string): Owner | null {
  try {
    const file = join(scratch, OWNER_FILE);
    const uid = process.getuid?.() ?? 0;
    if (lstatSync(scratch).uid !== uid || lstatSync(file).uid !== uid || !lstatSync(file).isFile()) return null;
    const owner = JSON.parse(readFileSync(file, 'utf8')) as Owner;
    return Number.isInteger(owner.pid) && typeof owner.data === 'string' ? owner : null;
  } catch {
    return null;
  }
}

function nodeDirectories(data: string): string[] {
  try {
    return readdirSync(data)
      .filter((name) => /^pg\d+$/.test(name))
      .map((name) => join(data, name));
  } catch {
    return [];
  }
}

/** Whatever still runs there would go on writing: an initdb, too, that nobody waits for any more. */
function removeWithServers(scratch: string, owner: Owner): void {
  for (const node of nodeDirectories(owner.data)) {
    killAllOf(node);
    removeSharedMemoryOf(node);
  }
  remove(scratch, owner);
}

function remove(scratch: string, owner: Owner): void {
  const gone = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 };
  if (owner.ownsData) rmSync(owner.data, gone);
  else {
    // it was the user's and empty: only what we put there goes
    for (const entry of entriesOf(owner.data)) {
      if (/^pg\d+(\.log|\.password|\.fairlead)?$/.test(entry)) rmSync(join(owner.data, entry), gone);
    }
  }
  // the owner file comes last: an interrupted removal is finished by the next run
  rmSync(scratch, gone);
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** @returns whether we created it. */
function prepareDataDirectory(data: string): boolean {
  try {
    mkdirSync(data, { mode: 0o711 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new FairleadError('bad_arguments', `cannot create ${data}: ${messageOf(error)}`, 'name another --data-dir');
    }
  }
  if (!statSync(data).isDirectory() || readdirSync(data).length > 0) {
    throw new FairleadError('bad_arguments', `${data} is not an empty directory`, 'name a new or empty --data-dir');
  }
  return false;
}
