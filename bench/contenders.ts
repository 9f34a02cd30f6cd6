/** Everybody the benchmark can find on this machine. Each is set up alike: 20 server connections, transaction pooling. */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../src/embedded/free-port.ts';
import type { UnprivilegedUser } from '../src/embedded/unprivileged-user.ts';
import { type Backend, type Contender, scratchDirectory, startProxy } from './contender.ts';

/** Server connections that a pooler may open; pool.size has the same default. */
const POOL_SIZE = 20;
const MOST_CLIENTS = 1000;
/** pgpool keeps a process for each client. */
const PGPOOL_CHILDREN = 140;

export const DATABASE = 'postgres';

/** @param names of the programs, the first that is found counts; also looks where Debian puts PostgreSQL's own */
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

export function urlOf({ host, port, user, password }: Backend): string {
  return `postgres://${user}:${password}@${host}:${port}/${DATABASE}`;
}

/** Fairlead as its users start it: a process of its own with a configuration file. */
export async function startFairlead(name: string, nodes: readonly Backend[], durable: string): Promise<Contender> {
  const [primary] = nodes as [Backend];
  const directory = scratchDirectory(null);
  const port = await freePort();
  const file = join(directory, 'fairlead.yaml');
  const config = {
    listen: `127.0.0.1:${port}`,
    http: `127.0.0.1:${await freePort()}`,
    cluster: {
      database: DATABASE,
      user: primary.user,
      password: primary.password,
      nodes: Object.fromEntries(nodes.map((node, i) => [`pg${i + 1}`, `${node.host}:${node.port}`])),
    },
    pool: { size: POOL_SIZE },
    auth: { users: { [primary.user]: primary.password } },
    log: { level: 'error' },
  };
  // JSON is YAML
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const url = urlOf({ ...primary, port });
  const pid = await startProxy(
    process.execPath,
    [join(import.meta.dirname, '..', 'src', 'main.js'), 'start', '-c', file],
    url,
    null,
  );
  return { name, description: `Fairlead, Node ${process.version}, ${durable}`, url, pid };
}

export async function startPgbouncer(backend: Backend, user: UnprivilegedUser | null): Promise<Contender | null> {
  const program = findProgram('pgbouncer');
  if (program === null) return null;
  const version = /(\d+)\.(\d+)\S*/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }));
  const preparesStatements = version !== null && (Number(version[1]) > 1 || Number(version[2]) >= 21);
  const directory = scratchDirectory(user);
  const port = await freePort();
  const users = join(directory, 'users.txt');
  const file = join(directory, 'pgbouncer.ini');
  writeOwned(users, `"${backend.user}" "${backend.password}"\n`, user);
  writeOwned(
    file,
    `[databases]
* = host=${backend.host} port=${backend.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${POOL_SIZE}
max_client_conn = ${MOST_CLIENTS}
log_connections = 0
log_disconnections = 0
stats_period = 3600
${preparesStatements ? 'max_prepared_statements = 500' : ''}
`,
    user,
  );
  const url = urlOf({ ...backend, port });
  const pid = await startProxy(program, [file], url, user);
  const description = `PgBouncer ${version?.[0] ?? ''}, pool_mode = transaction, default_pool_size = ${POOL_SIZE}`;
  return { name: 'PgBouncer', description, url, pid };
}

/** pgpool-II does not pool by transaction: each of its processes keeps a server connection for its client. */
export async function startPgpool(backend: Backend, user: UnprivilegedUser | null): Promise<Contender | null> {
  const program = findProgram('pgpool');
  if (program === null) return null;
  // --version answers on stderr
  const version = execFileSync('/bin/sh', ['-c', '"$1" --version 2>&1', 'sh', program], { encoding: 'utf8' });
  const directory = scratchDirectory(user);
  const port = await freePort();
  const file = join(directory, 'pgpool.conf');
  const hba = join(directory, 'pool_hba.conf');
  for (const name of ['sockets', 'log']) {
    mkdirSync(join(directory, name));
    if (user !== null) chownSync(join(directory, name), user.uid, user.gid);
  }
  writeOwned(join(directory, 'pool_passwd'), `${backend.user}:TEXT${backend.password}\n`, user);
  writeOwned(join(directory, 'pcp.conf'), '', user);
  writeOwned(hba, 'host all all 127.0.0.1/32 scram-sha-256\n', user);
  const sockets = `'${join(directory, 'sockets')}'`;
  writeOwned(
    file,
    `backend_clustering_mode = 'raw'
listen_addresses = '127.0.0.1'
port = ${port}
pcp_port = ${await freePort()}
unix_socket_directories = ${sockets}
socket_dir = ${sockets}
pcp_socket_dir = ${sockets}
backend_hostname0 = '${backend.host}'
backend_port0 = ${backend.port}
backend_flag0 = 'DISALLOW_TO_FAILOVER'
num_init_children = ${PGPOOL_CHILDREN}
max_pool = 1
connection_cache = on
enable_pool_hba = on
pool_passwd = 'pool_passwd'
pid_file_name = '${join(directory, 'pgpool.pid')}'
logdir = '${join(directory, 'log')}'
memory_cache_enabled = off
health_check_period = 0
`,
    user,
  );
  const url = urlOf({ ...backend, port });
  const args = ['-n', '-f', file, '-F', join(directory, 'pcp.conf'), '-a', hba];
  const pid = await startProxy(program, args, url, user);
  const name = /\d+\.\d+\S*/.exec(version)?.[0] ?? '';
  return {
    name: 'pgpool-II',
    description: `pgpool-II ${name}, raw mode, ${PGPOOL_CHILDREN} processes, each with a server connection of its own`,
    url,
    pid,
  };
}

function writeOwned(file: string, text: string, user: UnprivilegedUser | null): void {
  writeFileSync(file, text, { mode: 0o600 });
  if (user !== null) chownSync(file, user.uid, user.gid);
}
