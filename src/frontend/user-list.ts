import { readFileSync, statSync } from 'node:fs';
import { parseUserList } from '../config/user-list.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

/** How often the file is looked at. */
const LOOK_MS = 1000;

/** The users of `auth.users_file`. A file that changes on disk is read again; one that cannot be read leaves what was there. */
export class UserList {
  readonly #log: Log;
  #file: string | null = null;
  #users: ReadonlyMap<string, string> = new Map();
  #version = '';
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws FairleadError bad_config when it cannot be read, or is not of the form */
  load(file: string | null): void {
    const version = file === null ? '' : versionOf(file);
    this.#users = file === null ? new Map() : parseUserList(read(file), file);
    this.#file = file;
    this.#version = version;
    this.#lookedMs = nowMs();
  }

  /** The password as written; null when the user is not in it. */
  passwordOf(user: string, file: string | null): string | null {
    if (file !== this.#file || nowMs() - this.#lookedMs > LOOK_MS) this.#refresh(file);
    return this.#users.get(user) ?? null;
  }

  #refresh(file: string | null): void {
    this.#lookedMs = nowMs();
    try {
      if (file === this.#file && (file === null || versionOf(file) === this.#version)) return;
      this.load(file);
      this.#log.info({ file, users: this.#users.size }, 'users file read');
    } catch (error) {
      this.#log.warn({ file, error: messageOf(error) }, 'users file not read; what was in it before holds');
    }
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new FairleadError('bad_config', `auth.users_file: cannot read ${file}: ${messageOf(error)}`);
  }
}

function versionOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (error) {
    throw new FairleadError('bad_config', `auth.users_file: cannot read ${file}: ${messageOf(error)}`);
  }
}
