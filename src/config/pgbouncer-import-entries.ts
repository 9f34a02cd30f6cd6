/** The entries of [databases] and [users] in PgBouncer's file. */

export type Tree = { [key: string]: unknown };

/** Says something about a section of the new file. */
export type Remark = (section: string, text: string) => void;

import { type IniEntry, readConnectionString } from './pgbouncer-ini.ts';

const DATABASE_KEYS: Readonly<Record<string, readonly [key: string, seconds?: boolean]>> = {
  dbname: ['dbname'],
  user: ['user'],
  password: ['password'],
  pool_mode: ['pool_mode'],
  pool_size: ['size'],
  min_pool_size: ['min_size'],
  reserve_pool: ['reserve_size'],
  reserve_pool_size: ['reserve_size'],
  server_lifetime: ['server_lifetime', true],
  max_db_connections: ['max_connections'],
  max_db_client_connections: ['max_clients'],
};
const USER_KEYS: Readonly<Record<string, readonly [key: string, seconds?: boolean]>> = {
  pool_mode: ['pool_mode'],
  pool_size: ['size'],
  reserve_pool_size: ['reserve_size'],
  max_user_connections: ['max_connections'],
  max_user_client_connections: ['max_clients'],
  query_timeout: ['query_timeout', true],
  idle_transaction_timeout: ['idle_transaction_timeout', true],
  client_idle_timeout: ['client_idle_timeout', true],
};
/** `${NAME}` and `file:` mean something in our file. */
const MEANS_MORE = /\$\{[A-Za-z_]|^file:/;

/** Databases by name, and the servers that they were on. */
export function importDatabases(
  entries: readonly IniEntry[],
  remark: Remark,
): { readonly databases: Tree; readonly nodes: Tree } {
  const databases: Tree = {};
  const hosts = new Map<string, string[]>();
  for (const entry of entries) {
    const pairs = readConnectionString(entry);
    const names = placesOf(pairs, entry, remark);
    for (const place of names) hosts.set(place, [...(hosts.get(place) ?? []), entry.key]);
    const own = translate(entry, pairs, DATABASE_KEYS, 'databases', remark);
    if (own.dbname === entry.key) delete own.dbname;
    if (Object.keys(own).length > 0) databases[entry.key] = own;
  }
  if (hosts.size === 0) {
    remark('cluster', 'no server is named: write the address of yours');
    hosts.set('127.0.0.1:5432', []);
  }
  if (hosts.size > 1) {
    const list = [...hosts].map(([place, of]) => `${place} (${of.join(', ')})`).join(', ');
    remark(
      'cluster',
      `databases were on several servers: ${list}. Here all nodes are of one cluster, a primary and its replicas, and every database is on each; what is on another cluster needs a Fairlead of its own`,
    );
  }
  const nodes: Tree = {};
  [...hosts.keys()].forEach((place, i) => {
    nodes[`pg${i + 1}`] = place;
  });
  return { databases, nodes };
}

export function importUsers(entries: readonly IniEntry[], remark: Remark): Tree {
  const users: Tree = {};
  for (const entry of entries) {
    const own = translate(entry, readConnectionString(entry), USER_KEYS, 'users', remark);
    if (Object.keys(own).length > 0) users[entry.key] = own;
  }
  return users;
}

/** HOST:PORT of each server of an entry. */
function placesOf(pairs: Map<string, string>, { key, where }: IniEntry, remark: Remark): string[] {
  const ports = (pairs.get('port') ?? '5432').split(',');
  return (pairs.get('host') ?? '').split(',').flatMap((host, i) => {
    const port = ports[i] ?? ports[0];
    if (host === '' || host.startsWith('/') || host.startsWith('@')) {
      remark(
        'cluster',
        `${where}: ${key}: a Unix socket of the server has no counterpart: the loopback address is written instead`,
      );
      return [`127.0.0.1:${port}`];
    }
    return [host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`];
  });
}

function translate(
  { key: name, where }: IniEntry,
  pairs: Map<string, string>,
  known: Readonly<Record<string, readonly [key: string, seconds?: boolean]>>,
  section: string,
  remark: Remark,
): Tree {
  const own: Tree = {};
  for (const [key, value] of pairs) {
    if (key === 'host' || key === 'port') continue;
    const ours = known[key];
    if (ours === undefined) remark(section, `${where}: ${name}: ${key}=${value} has no counterpart`);
    else if (MEANS_MORE.test(value)) {
      remark(section, `${where}: ${name}: ${key} has characters that mean something here: set it by hand`);
    } else if (ours[1] === true) own[ours[0]] = `${value}s`;
    else own[ours[0]] = ['dbname', 'user', 'password'].includes(key) ? value : scalar(value);
  }
  return own;
}

/** Numbers are written as such. */
export function scalar(text: string): string | number {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}
