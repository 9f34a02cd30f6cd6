/** A disk of a few megabytes, for tests that fill one: a tmpfs that is gone with this process, or removed by the next one. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import { unprivilegedUser } from '../../src/embedded/unprivileged-user.ts';
import { CANNOT, needsRoot } from './needs.ts';
import { isAbandoned, ownedName } from './owned-name.ts';

const PREFIX = 'fairlead-disk';

export function needsDisks(): string | false {
  if (process.platform !== 'linux') return `${CANNOT}no tmpfs to mount`;
  if (needsRoot()) return needsRoot();
  try {
    new SmallDisk(1).remove();
    return false;
  } catch (error) {
    return `${CANNOT}no tmpfs can be mounted: ${(error as Error).message.split('\n')[0]}`;
  }
}

/** Unmounts those of processes that are gone. @returns where they were */
export function removeAbandonedDisks(): string[] {
  const abandoned = mounts().filter((path) => isAbandoned(PREFIX, basename(path)));
  for (const path of abandoned) unmount(path);
  return abandoned;
}

function mounts(): string[] {
  try {
    return readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
  } catch {
    return [];
  }
}

/** At once, whoever still has files open there. Another test file may remove what is abandoned at the same time. */
function unmount(path: string): void {
  try {
    execFileSync('umount', ['-l', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    if (mounts().includes(path)) throw error;
  }
  rmSync(path, { recursive: true, force: true });
}

export class SmallDisk {
  /** Belongs to the user that runs PostgreSQL. */
  readonly path: string;
  readonly #forget: () => void;

  /** @throws Error when it cannot be mounted */
  constructor(megabytes: number) {
    removeAbandonedDisks();
    this.path = join(tmpdir(), ownedName(PREFIX));
    const user = unprivilegedUser();
    const owner = user === null ? '' : `,uid=${user.uid},gid=${user.gid}`;
    mkdirSync(this.path, { mode: 0o755 });
    this.#forget = atExit(() => this.#gone());
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700${owner}`, PREFIX, this.path], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    } catch (error) {
      this.#forget();
      rmdirSync(this.path);
      throw error;
    }
  }

  /** Takes what is free, but for so many bytes. */
  fill(leftBytes = 0): void {
    const { bavail, bsize } = statfsSync(this.path);
    const bytes = bavail * bsize - leftBytes;
    if (bytes > 0) writeFileSync(this.#filler, Buffer.alloc(bytes));
  }

  /** Gives it back. */
  empty(): void {
    rmSync(this.#filler, { force: true });
  }

  remove(): void {
    this.#forget();
    this.#gone();
  }

  get #filler(): string {
    return join(this.path, 'filler');
  }

  #gone(): void {
    if (mounts().includes(this.path)) unmount(this.path);
  }
}
