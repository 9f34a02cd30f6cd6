import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** File of a program; also looks where Debian puts PostgreSQL's own. Null when it is not installed. */
export function findProgram(name: string): string | null {
  const versions = '/usr/lib/postgresql';
  const postgres = existsSync(versions)
    ? readdirSync(versions)
        .sort((a, b) => Number(b) - Number(a))
        .map((version) => join(versions, version, 'bin'))
    : [];
  const places = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', ...postgres];
  return places.map((place) => join(place, name)).find((file) => existsSync(file)) ?? null;
}
