/** Makes data directories: the first one by initdb, replicas by the low-level backup API (no pg_basebackup needed). */
import { execFile } from 'node:child_process';
import {
  chownSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { PostgresBinaries } from './binaries.ts';
import { serverEnvironment } from './embedded-node.ts';
import type { UnprivilegedUser } from './unprivileged-user.ts';

const run = promisify(execFile);

/** Creates a directory that only PostgreSQL's user may enter. */
export function makeDirectory(path: string, user: UnprivilegedUser | null): void {
  mkdirSync(path, { mode: 0o700 });
  if (user !== null) chownSync(path, user.uid, user.gid);
}

export function writeOwned(path: string, text: string, user: UnprivilegedUser | null): void {
  writeFileSync(path, text, { mode: 0o600 });
  if (user !== null) chownSync(path, user.uid, user.gid);
}

/** @param directory exists and is empty. @throws FairleadError refused with what initdb said. */
export async function initializeDatabase(
  directory: string,
  binaries: PostgresBinaries,
  user: UnprivilegedUser | null,
  login: { readonly superuser: string; readonly password: string },
): Promise<void> {
  const passwordFile = `${directory}.password`;
  writeOwned(passwordFile, `${login.password}\n`, user);
  const options = [
    '-D',
    directory,
    '-U',
    login.superuser,
    '-E',
    'UTF8',
    '--locale=C',
    '--no-sync',
    '--no-instructions',
  ];
  const authentication = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  try {
    await run(
      join(binaries.directory, 'initdb'),
      [...options.slice(0, binaries.major >= 14 ? 9 : 8), ...authentication],
      {
        cwd: directory,
        env: serverEnvironment(),
        ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
      },
    );
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || messageOf(error);
    throw new FairleadError(
      'refused',
      `initdb failed: ${said.split('\n').join(' | ')}`,
      'check the disk and the rights of the directory',
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** Content that a backup must not take: the source's own, or rebuilt at start ("Making a Base Backup", data to leave out). */
const EMPTY_DIRECTORIES = new Set([
  'pg_wal',
  'pg_replslot',
  'pg_dynshmem',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);
const LEFT_OUT = new Set([
  'postmaster.pid',
  'postmaster.opts',
  'standby.signal',
  'recovery.signal',
  'backup_label',
  'tablespace_map',
]);

export type CloneTarget = { readonly directory: string; readonly slot: string };

/**
 * Copies a running server into the empty directories of replicas, which then only lack their settings. Each gets its
 * physical slot on the source first, so that no WAL they need can be recycled.
 * @param source connection string of a superuser
 */
export async function cloneServer(
  source: { readonly url: string; readonly directory: string },
  targets: readonly CloneTarget[],
  major: number,
  user: UnprivilegedUser | null,
): Promise<void> {
  const client = new pg.Client({ connectionString: source.url });
  client.on('error', () => {});
  await client.connect();
  try {
    for (const { slot } of targets) {
      await client.query('SELECT pg_create_physical_replication_slot($1, true)', [slot]);
    }
    // renamed in 15, when the exclusive mode went away; both end with the session that started them
    await client.query(
      major >= 15 ? "SELECT pg_backup_start('fairlead', true)" : "SELECT pg_start_backup('fairlead', true, false)",
    );
    for (const { directory } of targets) copyTree(source.directory, directory, user, true);
    const { rows } = await client.query<{ labelfile: string; spcmapfile: string }>(
      major >= 15 ? 'SELECT * FROM pg_backup_stop(false)' : 'SELECT * FROM pg_stop_backup(false, false)',
    );
    for (const { directory } of targets) {
      writeOwned(join(directory, 'backup_label'), rows[0]?.labelfile ?? '', user);
      if (rows[0]?.spcmapfile) writeOwned(join(directory, 'tablespace_map'), rows[0].spcmapfile, user);
      writeOwned(join(directory, 'standby.signal'), '', user);
    }
  } finally {
    await client.end().catch(() => {});
  }
}

function copyTree(from: string, to: string, user: UnprivilegedUser | null, top: boolean): void {
  for (const name of readdirSync(from)) {
    if ((top && LEFT_OUT.has(name)) || name.startsWith('pgsql_tmp')) continue;
    const source = join(from, name);
    const target = join(to, name);
    try {
      const stat = lstatSync(source);
      if (stat.isDirectory()) {
        makeDirectory(target, user);
        if (!(top && EMPTY_DIRECTORIES.has(name))) copyTree(source, target, user, false);
        else if (name === 'pg_wal') makeDirectory(join(target, 'archive_status'), user);
      } else if (stat.isSymbolicLink()) {
        symlinkSync(readlinkSync(source), target);
      } else {
        copyFileSync(source, target);
        if (user !== null) chownSync(target, user.uid, user.gid);
      }
    } catch (error) {
      // a table dropped while we copy; replay knows of it
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
