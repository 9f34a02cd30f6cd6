/** What makes a data directory a standby's, and its own: configuration files are the node's, whatever a copy brings. */
import { cpSync, existsSync, lchownSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { UnprivilegedUser } from '../embedded/unprivileged-user.ts';
import type { LocalNode } from './local-node.ts';
import { makeOwned, removeTree, writeOwnedFile } from './places.ts';
import type { Source } from './source.ts';

const AUTO_CONF = 'postgresql.auto.conf';
const SIGNAL = 'standby.signal';
const HALF_FENCE: ReadonlySet<string> = new Set(['default_transaction_read_only']);
const FENCED = /^\s*synchronous_standby_names\s*=.*fairlead_fence_/m;
/** Configuration, certificates and keys at the top of a data directory. */
const OWN_FILE = /\.(conf|crt|key|pem|crl)$/;
const OWN_DIRECTORY = new Set(['conf.d']);

/** Remembers the node's own files before something overwrites them. What an interrupted rewind remembered is older, and right. */
export function keepOwnFiles(node: LocalNode): void {
  const { data, kept, rewinding } = node.places;
  if (existsSync(rewinding) && existsSync(kept)) return;
  removeTree(kept);
  if (!existsSync(data)) return;
  const unfinished = `${kept}.tmp`;
  removeTree(unfinished);
  makeOwned(unfinished, node.owner);
  copyOwn(data, unfinished);
  renameSync(unfinished, kept);
}

/** Puts them into a data directory. @returns false when there are none: the server is new here */
export function restoreOwnFiles(node: LocalNode, directory: string): boolean {
  if (!existsSync(node.places.kept)) return false;
  copyOwn(node.places.kept, directory);
  const { owner } = node;
  if (owner !== null) for (const name of readdirSync(node.places.kept)) own(join(directory, name), owner);
  return true;
}

export function forgetOwnFiles(node: LocalNode): void {
  removeTree(node.places.kept);
}

/** Whether a data directory was a primary's when its server ran last. */
export function wasPrimary(directory: string): boolean {
  return existsSync(join(directory, 'PG_VERSION')) && !existsSync(join(directory, SIGNAL));
}

/**
 * Turns a stopped data directory to its source.
 * @param settings further ones for postgresql.auto.conf
 * @param former its configuration is that of a former primary
 */
export function makeStandby(
  directory: string,
  source: Source,
  settings: Readonly<Record<string, string>>,
  { owner, former }: { readonly owner: UnprivilegedUser | null; readonly former: boolean },
): void {
  const file = join(directory, AUTO_CONF);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const wanted = { ...settings, primary_conninfo: source.conninfo, primary_slot_name: source.slot ?? '' };
  // a primary that died while it was being fenced is left with half a fence, which nobody would know as such. A whole one names itself,
  // and the controller lifts it when it sees who follows
  const unfenced = former && !FENCED.test(text) ? withoutSettings(text, HALF_FENCE) : text;
  writeOwnedFile(file, withSettings(unfenced, wanted), owner);
  writeOwnedFile(join(directory, SIGNAL), '', owner);
  rmSync(join(directory, 'recovery.signal'), { force: true });
}

/** The slot that a data directory is set to stream from; null: none. */
export function slotOf(directory: string): string | null {
  const file = join(directory, AUTO_CONF);
  if (!existsSync(file)) return null;
  // the last line of a name wins
  const found = [...readFileSync(file, 'utf8').matchAll(/^\s*primary_slot_name\s*=\s*'([a-z0-9_]+)'/gm)];
  return found.at(-1)?.[1] ?? null;
}

/** Replaces settings in the text of a configuration file, as ALTER SYSTEM does: other lines stay. */
export function withSettings(text: string, settings: Readonly<Record<string, string>>): string {
  const added = Object.entries(settings).map(([name, value]) => `${name} = ${quoted(value)}\n`);
  return withoutSettings(text, new Set(Object.keys(settings))) + added.join('');
}

function withoutSettings(text: string, names: ReadonlySet<string>): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .filter((line) => !names.has((/^\s*([A-Za-z_][\w.]*)/.exec(line)?.[1] ?? '').toLowerCase()))
    .map((line) => `${line}\n`)
    .join('');
}

/** guc-file.l: quotes are doubled, and a backslash begins an escape. */
function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function copyOwn(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const isOwn = entry.isDirectory() ? OWN_DIRECTORY.has(entry.name) : OWN_FILE.test(entry.name);
    if (!isOwn) continue;
    const target = join(to, entry.name);
    removeTree(target);
    cpSync(join(from, entry.name), target, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  }
}

function own(path: string, { uid, gid }: UnprivilegedUser): void {
  lchownSync(path, uid, gid);
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) own(join(path, name), { name, uid, gid });
}
