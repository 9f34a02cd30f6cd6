/** Turns PgBouncer's configuration into ours. What has no counterpart becomes a comment that says so, where it would stand. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Document, isScalar } from 'yaml';
import { importDatabases, importUsers, type Remark, scalar, type Tree } from './pgbouncer-import-entries.ts';
import { type IniEntry, type PgbouncerIni, readConnectionString, readList } from './pgbouncer-ini.ts';
import { ourText, pgbouncerKey } from './pgbouncer-keys.ts';

export type Imported = {
  readonly yaml: string;
  /** What somebody has to look at, one sentence each. */
  readonly remarks: readonly string[];
};

/** What PgBouncer does where its file is silent, and we would do otherwise. */
const THEIR_DEFAULTS: Readonly<Record<string, string>> = {
  pool_mode: 'session',
  max_client_conn: '100',
  query_wait_timeout: '120',
  auth_type: 'md5',
  listen_port: '6432',
};

const PLAIN: Readonly<Record<string, readonly [section: string, ...path: string[]]>> = {
  client_tls_sslmode: ['tls', 'mode'],
  client_tls_key_file: ['tls', 'key'],
  client_tls_cert_file: ['tls', 'cert'],
  client_tls_ca_file: ['tls', 'ca'],
  server_tls_sslmode: ['cluster', 'tls', 'mode'],
  server_tls_key_file: ['cluster', 'tls', 'key'],
  server_tls_cert_file: ['cluster', 'tls', 'cert'],
  server_tls_ca_file: ['cluster', 'tls', 'ca'],
  auth_query: ['auth', 'query'],
  unix_socket_dir: ['unix_socket', 'directory'],
  unix_socket_mode: ['unix_socket', 'mode'],
};
const FILES: Readonly<Record<string, string>> = {
  auth_file: 'users_file',
  auth_hba_file: 'hba_file',
  auth_ident_file: 'ident_file',
};
const AUTH_TYPES: Readonly<Record<string, string>> = {
  'scram-sha-256': 'scram-sha-256',
  md5: 'md5',
  plain: 'password',
  cert: 'cert',
  trust: 'trust',
  any: 'trust',
  hba: 'scram-sha-256',
};
/** Needless here, for the reason given. */
const NEEDLESS: Readonly<Record<string, string>> = {
  max_prepared_statements: 'prepared statements work without being counted',
  ignore_startup_parameters: 'startup parameters reach the servers as settings of the session',
  track_extra_parameters: 'all settings of a session follow it',
  server_check_query: 'an empty query is used',
  server_reset_query_always: 'settings follow the session, and what cannot be moved keeps its connection',
  disable_pqexec: 'texts of several statements are classified as a whole',
  logfile: 'the log goes to stderr',
  pidfile: 'the program stays in the foreground',
  syslog: 'the log goes to stderr',
};
const ADDRESS = /^[\w.:-]+$/;

/** @param file where it was read from: relative paths in it start there */
export function importPgbouncer(ini: PgbouncerIni, file: string): Imported {
  const given = new Map(ini.pgbouncer.map((entry) => [entry.key.toLowerCase(), entry]));
  const value = (key: string) => given.get(key)?.value ?? THEIR_DEFAULTS[key] ?? '';
  const remarks: string[] = [];
  const bySection = new Map<string, string[]>();
  const remark: Remark = (section, text) => {
    remarks.push(text);
    const lines = bySection.get(section) ?? [];
    bySection.set(section, lines);
    lines.push(` ${text}`);
  };
  const tree: Tree = { listen: listenAddress(value('listen_addr'), value('listen_port'), remark) };
  const { databases, nodes } = importDatabases(ini.databases, remark);
  const admins = readList(value('admin_users'));
  const user = value('auth_user') || admins[0] || 'fairlead';
  tree.cluster = { user, nodes };
  remark(
    'cluster',
    `cluster.user: ${user} becomes the role of Fairlead's own connections: see docs/failover.md for its privileges, and set cluster.password or FAIRLEAD_CLUSTER_PASSWORD`,
  );
  if (Object.keys(databases).length > 0) tree.databases = databases;
  const users = importUsers(ini.users, remark);
  if (Object.keys(users).length > 0) tree.users = users;
  importSettings(given, value, tree, remark);
  importAuthentication(given, value, tree, dirname(file), remark);
  if (value('auth_user') === '' && !ini.databases.some((entry) => readConnectionString(entry).has('auth_user'))) {
    const listed = (tree.auth as Tree).users_file !== undefined;
    // without users nobody could connect at all
    if (listed) put(tree, ['auth', 'query'], 'off');
    remark(
      'auth',
      listed
        ? 'auth.query: off, for without auth_user the servers were not asked for passwords: only listed users can log in'
        : 'auth.query: the servers are asked for passwords, for no users are listed',
    );
  }
  if (!ini.databases.some(({ key }) => key === '*')) {
    remark(
      'auth',
      'without an entry * there were no other databases: here all of the servers can be reached, unless auth.rules or CONNECT privileges say otherwise',
    );
  }
  for (const { where } of ini.peers)
    remark('listen', `${where}: there are no peers: a cancel request must reach the Fairlead that runs the statement`);
  return { yaml: render(tree, bySection, file), remarks };
}

function listenAddress(addresses: string, port: string, remark: Remark): string {
  const [first, ...others] = readList(addresses);
  if (others.length > 0) remark('listen', `listen_addr: only ${first} of ${addresses}; write 0.0.0.0 for all`);
  if (first === undefined)
    remark('listen', 'listen_addr was empty, for the Unix socket only: here it is the loopback address');
  const host = first === '*' ? '0.0.0.0' : (first ?? '127.0.0.1');
  if (!ADDRESS.test(host)) remark('listen', `listen_addr ${host} is not understood`);
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function importSettings(
  given: ReadonlyMap<string, IniEntry>,
  value: (key: string) => string,
  tree: Tree,
  remark: Remark,
): void {
  for (const name of Object.keys(THEIR_DEFAULTS)) {
    const known = pgbouncerKey(name);
    if (known !== null) put(tree, known.path, scalar(ourText(known, value(name))));
  }
  for (const [name, { value: text, where }] of given) {
    const known = pgbouncerKey(name);
    const plain = PLAIN[name];
    if (text === '' && name !== 'server_reset_query') continue;
    if (known !== null) put(tree, known.path, scalar(ourText(known, text)));
    else if (name === 'unix_socket_dir' && text.startsWith('@'))
      remark('listen', `${where}: abstract Unix sockets are not supported`);
    else if (plain !== undefined) put(tree, plain, name === 'unix_socket_mode' ? text : scalar(text));
    else if (name === 'verbose' && text !== '0') put(tree, ['log', 'level'], 'debug');
    else if (NEEDLESS[name] !== undefined) remark('pool', `${where}: ${name} is not needed: ${NEEDLESS[name]}`);
    else if (!HANDLED.has(name)) remark('pool', `${where}: ${name} = ${text} has no counterpart`);
  }
}

const HANDLED: ReadonlySet<string> = new Set([
  ...['listen_addr', 'listen_port', 'auth_type', 'auth_user', 'admin_users', 'stats_users', 'verbose'],
  ...Object.keys(FILES),
]);

function importAuthentication(
  given: ReadonlyMap<string, IniEntry>,
  value: (key: string) => string,
  tree: Tree,
  base: string,
  remark: Remark,
): void {
  const type = value('auth_type');
  const ours = AUTH_TYPES[type];
  if (ours === undefined) remark('auth', `auth_type ${type} has no counterpart: scram-sha-256 is written instead`);
  if (type === 'any')
    remark('auth', 'auth_type any: users keep their own names here; prescribe one with databases.NAME.user');
  put(tree, ['auth', 'type'], ours ?? 'scram-sha-256');
  for (const [name, key] of Object.entries(FILES)) {
    const text = given.get(name)?.value ?? '';
    if (text === '') continue;
    const path = resolve(base, text);
    if (name === 'auth_hba_file' && type !== 'hba')
      remark('auth', `${given.get(name)?.where}: ${name} is left out: it was in force with auth_type hba only`);
    else if (existsSync(path)) put(tree, ['auth', key], path);
    else remark('auth', `${given.get(name)?.where}: ${name}: there is no file ${path}; auth.${key} is left out`);
  }
  if (type === 'trust')
    remark('auth', 'auth_type trust: users had to be in auth_file; here all come in that the servers let in');
  if (ours === 'trust' && !/^(127\.|localhost|\[::1\])/.test(String(tree.listen))) {
    remark('auth', `auth_type ${type} is possible on a loopback address only: listen was ${tree.listen}`);
    tree.listen = `127.0.0.1:${value('listen_port')}`;
  }
  for (const [name, key] of [
    ['admin_users', 'admins'],
    ['stats_users', 'stats_users'],
  ] as const) {
    const names = readList(value(name));
    if (names.length > 0) put(tree, ['auth', key], names);
  }
}

function put(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const part of path.slice(0, -1)) {
    at[part] ??= {};
    at = at[part] as Tree;
  }
  at[path.at(-1) as string] = value;
}

const ORDER = ['listen', 'unix_socket', 'tls', 'cluster', 'pool', 'databases', 'users', 'auth', 'log'];

function render(tree: Tree, bySection: ReadonlyMap<string, readonly string[]>, file: string): string {
  const ordered: Tree = {};
  for (const section of ORDER) if (tree[section] !== undefined) ordered[section] = tree[section];
  const document = new Document(ordered);
  document.commentBefore = ` Made by \`fairlead import ${file}\`. Lines with # tell what needs a look.`;
  const { contents } = document;
  if (contents !== null && 'items' in contents) {
    for (const { key } of contents.items as { key: unknown }[]) {
      const lines = isScalar(key) ? bySection.get(String(key.value)) : undefined;
      if (isScalar(key) && lines !== undefined) key.commentBefore = lines.join('\n');
    }
  }
  // a comment may be of any length
  return document.toString({ lineWidth: 0 });
}
