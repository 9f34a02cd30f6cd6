/** PgBouncer's userlist.txt: `"user" "password"` in each line. https://www.pgbouncer.org/config.html#authentication-file-format */
import { FairleadError } from '../core/errors.ts';

/** A quoted text; two double quotes inside are one. */
const ENTRY = /^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"/;
const NOTHING = /^\s*([;#].*)?$/;

/**
 * Users with their passwords as written; what follows them in a line is ignored. Of a name written twice the first counts.
 * @throws FairleadError bad_config with the number of the line, and nothing of what is in it
 */
export function parseUserList(text: string, file: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const [index, line] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    if (NOTHING.test(line)) continue;
    const match = ENTRY.exec(line);
    if (match === null) {
      throw new FairleadError('bad_config', `${file}:${index + 1}: write "user" "password", in double quotes`);
    }
    const [user, password] = [match[1], match[2]].map((quoted) => (quoted as string).replaceAll('""', '"'));
    if (!users.has(user as string)) users.set(user as string, password as string);
  }
  return users;
}
