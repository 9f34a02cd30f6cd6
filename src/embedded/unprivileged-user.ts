import { readFileSync } from 'node:fs';
import { FairleadError } from '../core/errors.ts';

/** The user that runs PostgreSQL, which refuses root ("cannot be run as root"). */
export type UnprivilegedUser = { readonly name: string; readonly uid: number; readonly gid: number };

/**
 * Null when this process is not root and PostgreSQL simply runs as we do; otherwise postgres, else nobody, else the first
 * ordinary account.
 * @throws FairleadError refused when there is no such account.
 */
export function unprivilegedUser(passwd = '/etc/passwd'): UnprivilegedUser | null {
  if (process.getuid?.() !== 0) return null;
  const users = parsePasswd(readFileSync(passwd, 'utf8'));
  const found =
    users.find((user) => user.name === 'postgres') ??
    users.find((user) => user.name === 'nobody') ??
    users.find((user) => user.uid >= 1000);
  if (found === undefined) {
    throw new FairleadError(
      'refused',
      'PostgreSQL does not run as root and this machine has no other user',
      'start fairlead as an ordinary user',
    );
  }
  return found;
}

/** Accounts of passwd(5) except root's. */
export function parsePasswd(text: string): UnprivilegedUser[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    if (name === undefined || uid === undefined || gid === undefined || Number(uid) === 0) return [];
    return [{ name, uid: Number(uid), gid: Number(gid) }];
  });
}
