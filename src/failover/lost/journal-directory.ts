import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where lost transactions are written to: as configured, as systemd says, or where programs of this user keep what outlives them. */
export function journalDirectory(
  configured: string | null,
  environment: NodeJS.ProcessEnv = process.env,
  root = process.getuid?.() === 0,
): string {
  if (configured !== null) return configured;
  // several are separated by colons; https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
  const [given] = (environment.STATE_DIRECTORY ?? '').split(':');
  if (given) return given;
  if (root) return '/var/lib/fairlead';
  const state = environment.XDG_STATE_HOME;
  return join(state?.startsWith('/') ? state : join(homedir(), '.local', 'state'), 'fairlead');
}
