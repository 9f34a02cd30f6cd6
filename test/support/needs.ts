/**
 * What some tests need beyond Node. Each gives false when it is there, or the reason to skip:
 * `it('…', { skip: needsChromium() }, …)`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** How a reason begins that even the build machine may give. */
export const CANNOT = 'this machine cannot: ';

/** Finds a program in PATH. */
export function findProgram(...names: string[]): string | null {
  for (const directory of (process.env.PATH ?? '').split(':')) {
    for (const name of names) {
      if (directory !== '' && existsSync(join(directory, name))) return join(directory, name);
    }
  }
  return null;
}

/** The system's Chromium or Chrome; null when there is none. */
export function chromiumPath(): string | null {
  const mac = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';
  return (
    process.env.CHROMIUM ||
    (findProgram('chromium', 'chromium-browser', 'google-chrome') ?? (existsSync(mac) ? mac : null))
  );
}

export function needsChromium(): string | false {
  return chromiumPath() === null ? 'no Chromium here (apt-get install chromium, or CHROMIUM=path)' : false;
}

export function needsProgram(name: string): string | false {
  return findProgram(name) === null ? `no program ${name} in PATH` : false;
}

/** Highest version of a PostgreSQL installed by the system, with its directory; null when there is none. */
export function systemPostgres(): { major: number; directory: string } | null {
  for (let major = 18; major >= 13; major--) {
    for (const directory of [`/usr/lib/postgresql/${major}/bin`, `/opt/homebrew/opt/postgresql@${major}/bin`]) {
      if (existsSync(join(directory, 'postgres'))) return { major, directory };
    }
  }
  return null;
}

export function needsSystemPostgres(): string | false {
  return systemPostgres() === null ? 'no PostgreSQL installed by the system' : false;
}

export function needsRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'needs root';
}

export function needsRegressionTests(): string | false {
  const directory = process.env.FAIRLEAD_REGRESSION ?? '';
  if (existsSync(join(directory, 'pg_regress')) && directory !== '') return false;
  return "PostgreSQL's regression tests are not built (test/regression/prepare.sh DIRECTORY, then FAIRLEAD_REGRESSION=DIRECTORY)";
}
