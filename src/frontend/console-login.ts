/** Logging in to the admin console: it is for the time when no server answers, too. */
import type { Config } from '../config/config.ts';
import { FairleadError } from '../core/errors.ts';
import type { LoginTemplate } from './login-templates.ts';

/** Databases that are the admin console. */
export const CONSOLE_DATABASES: ReadonlySet<string> = new Set(['fairlead', 'pgbouncer']);

/** What its clients are told. */
export const CONSOLE_PARAMETERS: LoginTemplate = new Map([
  ['server_version', '18.0 (fairlead)'],
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['TimeZone', 'UTC'],
  ['integer_datetimes', 'on'],
  ['standard_conforming_strings', 'on'],
]);

/** Why this user may not come in; null when it may. */
export function consoleRefusal({ auth, cluster }: Config, user: string): FairleadError | null {
  if (user === cluster.user || auth.admins.includes(user) || auth.stats_users.includes(user)) return null;
  return new FairleadError(
    'auth_failed',
    `user "${user}" may not use the admin console`,
    'list it under auth.admins or auth.stats_users',
  );
}
