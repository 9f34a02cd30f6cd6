/** Which user the owner of a certificate may be: maps in the syntax of pg_ident.conf. https://www.postgresql.org/docs/18/auth-username-maps.html */
import { fault, readLines } from './access-tokens.ts';

type Entry = {
  readonly system: RegExp | string;
  /** A name, in which `\1` stands for what the pattern of `system` has caught; `all`: any. */
  readonly user: RegExp | string | null;
};

export type UserMaps = ReadonlyMap<string, readonly Entry[]>;

/** @throws FairleadError bad_config with the line */
export function readUserMaps(file: string | null): UserMaps {
  const maps = new Map<string, Entry[]>();
  for (const { fields, where } of file === null ? [] : readLines(file)) {
    if (fields.length !== 3 || fields.some((field) => field.length !== 1)) {
      throw fault(where, 'write the name of the map, the name in the certificate, and the user');
    }
    const [map, system, user] = fields.map((field) => field[0]);
    if (map === undefined || system === undefined || user === undefined) continue;
    if (!user.quoted && user.text.startsWith('+'))
      throw fault(where, 'groups are known to the servers only; name the users');
    const entry = {
      system: pattern(system.text, where),
      user: !user.quoted && user.text === 'all' ? null : pattern(user.text, where),
    };
    maps.set(map.text, [...(maps.get(map.text) ?? []), entry]);
  }
  return maps;
}

function pattern(text: string, where: string): RegExp | string {
  if (!text.startsWith('/')) return text;
  try {
    return new RegExp(text.slice(1), 'u');
  } catch {
    throw fault(where, `invalid regular expression "${text.slice(1)}"`);
  }
}

/** True when the owner of a name may be that user; without a map, when both are the same. */
export function mayBe(maps: UserMaps, map: string | null, system: string, user: string): boolean {
  if (map === null) return system === user;
  return (maps.get(map) ?? []).some((entry) => {
    const match = typeof entry.system === 'string' ? (entry.system === system ? [] : null) : entry.system.exec(system);
    if (match === null) return false;
    if (entry.user === null) return true;
    if (typeof entry.user !== 'string') return entry.user.test(user);
    const caught = match[1];
    return (caught === undefined ? entry.user : entry.user.replace('\\1', () => caught)) === user;
  });
}
