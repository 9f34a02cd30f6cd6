/**
 * Puts a configuration together: the file, over it the environment, over that the command line. Whatever is wrong becomes
 * one line that names the place, the key and what to write there.
 */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { FairleadError, messageOf } from '../core/errors.ts';
import { readRules } from './access-rules.ts';
import { type Config, configSchema, followsOthers, type ServerTls } from './config.ts';
import { readEnvironment, splitPair } from './environment.ts';
import { explainIssues } from './explain-issue.ts';
import { sharedOut } from './share.ts';
import { readUserMaps } from './user-maps.ts';

/** What the command line can say without a file. */
export type ConfigFlags = {
  /** `NAME=HOST:PORT` each. */
  readonly nodes?: readonly string[] | undefined;
  readonly user?: string | undefined;
  readonly database?: string | undefined;
  readonly listen?: string | undefined;
  readonly http?: string | undefined;
};

export type ConfigSource = {
  readonly file: string | null;
  readonly environment: NodeJS.ProcessEnv;
  readonly flags: ConfigFlags;
};

type Tree = { [key: string]: unknown };
type Origin = { readonly path: readonly string[]; readonly where: string };

/** Keys whose texts are paths of files, relative to the configuration file; or, where it says so, what would stand in them. */
const FILE_KEY =
  /(^|\.)(tls\.(ca|cert|key)|(users|hba|ident)_file|unix_socket\.directory|failover\.journal_directory|agent\.tls_(ca|cert|key))$/;
const NOT_A_PATH = /-----BEGIN |^(system)?$/;

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** @throws FairleadError bad_config with one line. */
export function loadConfig({ file, environment, flags }: ConfigSource): Config {
  const origins: Origin[] = [];
  const base = file === null ? '' : file;
  const tree = file === null ? {} : readTree(file, environment);
  const put = (path: readonly string[], value: unknown, where: string) => {
    origins.push({ path, where });
    setIn(tree, path, value, where);
  };
  for (const { path, variable, value } of readEnvironment(environment)) {
    put(path, resolveSecrets(value, path, `environment: ${variable}`, environment, '.'), `environment: ${variable}`);
  }
  if (flags.nodes !== undefined && flags.nodes.length > 0) {
    put(['cluster', 'nodes'], Object.fromEntries(flags.nodes.map((item) => splitPair(item, '--node'))), '--node');
  }
  if (flags.user !== undefined) put(['cluster', 'user'], flags.user, '--user');
  if (flags.database !== undefined) put(['cluster', 'database'], flags.database, '--database');
  if (flags.listen !== undefined) put(['listen'], flags.listen, '--listen');
  if (flags.http !== undefined) put(['http'], flags.http, '--http');
  if (file === null) addDefaultLogin(tree, environment, put);
  if (file === null && getIn(tree, ['cluster', 'nodes']) === undefined) {
    throw new FairleadError(
      'bad_config',
      'no configuration: give a file with -c FILE, or --node NAME=HOST:PORT for each server with --user and --database',
    );
  }
  const result = configSchema.safeParse(tree);
  const whereOf = (path: readonly string[]) =>
    origins.findLast((origin) => origin.path.every((part, i) => part === path[i]))?.where ?? (base || 'command line');
  if (!result.success) throw new FairleadError('bad_config', explainIssues(result.error.issues, whereOf));
  checkTogether(result.data, whereOf);
  return result.data;
}

/** Without a file the user of the control connections is the one who may connect, with the same password. */
function addDefaultLogin(
  tree: Tree,
  environment: NodeJS.ProcessEnv,
  put: (path: readonly string[], value: unknown, where: string) => void,
): void {
  const password = environment.FAIRLEAD_PASSWORD || environment.PGPASSWORD;
  const user = getIn(tree, ['cluster', 'user']);
  if (password && getIn(tree, ['cluster', 'password']) === undefined) {
    put(['cluster', 'password'], password, environment.FAIRLEAD_PASSWORD ? 'FAIRLEAD_PASSWORD' : 'PGPASSWORD');
  }
  if (tree.auth !== undefined || typeof user !== 'string') return;
  const known = getIn(tree, ['cluster', 'password']);
  put(['auth'], known === undefined ? { type: 'trust' } : { users: { [user]: { password: known } } }, 'command line');
}

/** What no key alone can know. */
function checkTogether(config: Config, whereOf: (path: readonly string[]) => string): void {
  const fail = (path: string, text: string): never => {
    throw new FairleadError('bad_config', `${whereOf(path.split('.'))}: ${path}: ${text}`);
  };
  const nodes = Object.entries(config.cluster.nodes);
  if (nodes.length === 0) fail('cluster.nodes', 'name at least one server');
  const seen = new Map<string, string>();
  for (const [name, { address }] of nodes) {
    const text = `${address.host}:${address.port}`;
    if (address.port === 0) fail(`cluster.nodes.${name}`, 'port 0 is no address of a server');
    if (seen.has(text)) fail(`cluster.nodes.${name}`, `${text} is ${seen.get(text)}'s address already`);
    seen.set(text, name);
  }
  const { mode, copies } = config.replication;
  const members = nodes.filter(([, { subscription }]) => subscription === null).length;
  if (mode !== 'async' && copies >= members) {
    fail('replication.copies', `${copies} copies need ${copies + 1} nodes, cluster.nodes has ${members}`);
  }
  if (mode !== 'async' && followsOthers(config)) {
    fail(
      'replication.mode',
      `with failover.mode: ${config.failover.mode} nothing on the servers is changed; write async, or let failover be manual`,
    );
  }
  checkTls(config.cluster.tls, 'cluster.tls', fail);
  for (const [name, { tls }] of nodes) if (tls !== undefined) checkTls(tls, `cluster.nodes.${name}.tls`, fail);
  checkDoor(config, fail);
  for (const [path, value] of config.workers > 1 ? sharedOut(config) : []) {
    if (value < config.workers) fail(path, `${value} cannot be shared out among ${config.workers} workers`);
  }
  const { type, users, users_file: file, query, rules, hba_file } = config.auth;
  const byRules = rules.length > 0 || hba_file !== null;
  if (type === 'trust' && !byRules) {
    for (const address of [config.listen, config.listen_read_only]) {
      if (address === null || LOOPBACK.test(address.host)) continue;
      const text = `trust lets in everybody who reaches ${address.host}; set a password, or listen on 127.0.0.1`;
      fail('auth.type', text);
    }
    return;
  }
  if (!/^(auto|off)$/.test(query) && !query.includes('$1'))
    fail('auth.query', 'write auto, off, or SQL with $1 for the user');
  if (byRules || type === 'cert') return;
  if (Object.keys(users).length === 0 && file === null && query === 'off') {
    fail('auth.users', 'nobody could connect: add users with their passwords, or set auth.query: auto');
  }
  for (const [name, { password }] of Object.entries(users)) {
    if (password === null) fail(`auth.users.${name}`, 'write a password, or a SCRAM-SHA-256$… verifier');
  }
}

/** What clients meet: their TLS, and the rules of access. */
function checkDoor(
  { tls, auth, unix_socket: { directory } }: Config,
  fail: (path: string, text: string) => never,
): void {
  if ((tls.cert === null) !== (tls.key === null)) fail('tls', 'write cert and key, or neither');
  if (tls.cert === null && /^(require|verify)/.test(tls.mode)) {
    fail('tls.mode', `${tls.mode} needs tls.cert and tls.key: the certificate that clients are shown`);
  }
  if (tls.ca === null && /^verify/.test(tls.mode)) {
    fail('tls.mode', `${tls.mode} needs tls.ca: the certificates that those of the clients are verified with`);
  }
  if (directory !== null && !isAbsolute(directory)) fail('unix_socket.directory', 'write an absolute path');
  const rules = readRules(auth);
  const maps = readUserMaps(auth.ident_file);
  const offersCa = tls.mode !== 'disable' && tls.cert !== null && tls.ca !== null;
  if (rules.length === 0 && auth.hba_file === null && auth.type === 'cert' && !offersCa) {
    fail('auth.type', 'cert needs tls.cert, tls.key and tls.ca: client certificates are verified with that');
  }
  for (const { where, clientCertificate, map } of rules) {
    if (clientCertificate !== null && !offersCa) {
      throw new FairleadError(
        'bad_config',
        `${where}: client certificates can only be verified with tls.cert, tls.key and tls.ca`,
      );
    }
    if (map !== null && !maps.has(map)) {
      throw new FairleadError('bad_config', `${where}: auth.ident_file has no map "${map}"`);
    }
  }
}

function checkTls(tls: ServerTls, key: string, fail: (path: string, text: string) => never): void {
  if (/^verify/.test(tls.mode) && tls.ca === null) {
    fail(`${key}.mode`, `${tls.mode} needs ${key}.ca: the file of the certificates to verify with, or "system"`);
  }
  if ((tls.cert === null) !== (tls.key === null)) fail(key, 'write cert and key, or neither');
}

function readTree(file: string, environment: NodeJS.ProcessEnv): Tree {
  return resolveSecrets(readFile(file), [], file, environment, dirname(file)) as Tree;
}

/** One section of a file, of which nothing else is looked at: secrets of the others need not be there. @throws FairleadError bad_config */
export function readSection(file: string, name: string, environment: NodeJS.ProcessEnv): Tree {
  const section = readFile(file)[name] ?? {};
  if (typeof section !== 'object' || Array.isArray(section)) {
    throw new FairleadError('bad_config', `${file}: ${name}: write keys and values`);
  }
  return resolveSecrets(section, [name], file, environment, dirname(file)) as Tree;
}

function readFile(file: string): Tree {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : messageOf(error);
    throw new FairleadError('bad_config', `${file}: ${why}`);
  }
  const document = parseDocument(text, { prettyErrors: true });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const line = problem.linePos?.[0]?.line;
    const what = problem.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '');
    throw new FairleadError('bad_config', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
  }
  const tree: unknown = document.toJS() ?? {};
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) {
    throw new FairleadError('bad_config', `${file}: write keys and values, such as "listen: 127.0.0.1:6432"`);
  }
  return tree as Tree;
}

/** Replaces `${NAME}` by the environment's value, and a text `file:PATH` (relative to `base`) by the file's content. */
function resolveSecrets(
  value: unknown,
  path: readonly string[],
  where: string,
  environment: NodeJS.ProcessEnv,
  base: string,
): unknown {
  if (Array.isArray(value))
    return value.map((item, i) => resolveSecrets(item, [...path, String(i)], where, environment, base));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [
        key,
        resolveSecrets(inner, [...path, key], where, environment, base),
      ]),
    );
  }
  if (typeof value !== 'string') return value;
  const fail = (text: string): never => {
    throw new FairleadError('bad_config', `${where}: ${path.join('.')}: ${text}`);
  };
  const text = value.replaceAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
    return environment[name] ?? fail(`the environment variable ${name} is not set`);
  });
  if (!value.startsWith('file:')) {
    return FILE_KEY.test(path.join('.')) && !NOT_A_PATH.test(text) ? resolve(base, text) : text;
  }
  try {
    return readFileSync(resolve(base, text.slice('file:'.length)), 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    return fail(`cannot read ${text.slice('file:'.length)}: ${messageOf(error)}`);
  }
}

function getIn(tree: Tree, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, part) => (typeof at === 'object' && at !== null ? (at as Tree)[part] : undefined),
    tree,
  );
}

function setIn(tree: Tree, path: readonly string[], value: unknown, where: string): void {
  let at = tree;
  for (const part of path.slice(0, -1)) {
    const next = at[part] ?? {};
    if (typeof next !== 'object' || Array.isArray(next)) {
      throw new FairleadError('bad_config', `${where}: ${path.join('.')}: the file has no section ${part}`);
    }
    at[part] = next;
    at = next as Tree;
  }
  at[path.at(-1) as string] = value;
}
