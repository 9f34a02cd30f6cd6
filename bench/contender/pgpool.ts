import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.ts';
import { type Backend, type Contender, DATABASE, type Stage, urlOf } from './contender.ts';
import { findProgram } from './program.ts';
import { scratchDirectory, startProxy, writeOwned } from './proxy-process.ts';

/** Before the primary only: what the way through it costs. Null when it is not installed. */
export function startPgpool(stage: Stage): Promise<Contender | null> {
  return start({ ...stage, replicas: [] }, 'pgpool-II', 'raw mode', "backend_clustering_mode = 'raw'");
}

/** How it treats reads once replicas are there. */
export type PgpoolBalance = {
  readonly name: string;
  /** `disable_load_balance_on_write`: where reads go that follow a write. */
  readonly onWrite: 'dml_adaptive' | 'always';
  /** `delay_threshold`: replicas further behind, at the last check, serve no reads; 0: all do. */
  readonly thresholdBytes: number;
};

/**
 * Before the primary and its replicas, set to read from replicas: the primary has no weight, functions count as what the catalog says of them, and the
 * delay is looked at as often as it can be. Null when it is not installed.
 */
export function startPgpoolWithReplicas(
  stage: Stage,
  { name, onWrite, thresholdBytes }: PgpoolBalance,
): Promise<Contender | null> {
  return start(
    stage,
    name,
    `the primary (weight 0) and its ${stage.replicas.length} replicas, disable_load_balance_on_write = ${onWrite}, delay_threshold = ${thresholdBytes}, sr_check_period = 1`,
    `backend_clustering_mode = 'streaming_replication'
load_balance_mode = on
backend_weight0 = 0
${stage.replicas.map((_, i) => `backend_weight${i + 1} = 1`).join('\n')}
disable_load_balance_on_write = '${onWrite}'
read_only_function_list = ''
write_function_list = ''
sr_check_period = 1
sr_check_user = '${stage.primary.user}'
sr_check_database = '${DATABASE}'
delay_threshold = ${thresholdBytes}`,
  );
}

/** pgpool-II does not pool by transaction: each of its processes keeps a server connection for its client. */
async function start(
  { primary, replicas, processes, user }: Stage,
  name: string,
  mode: string,
  settings: string,
): Promise<Contender | null> {
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
  writeOwned(join(directory, 'pool_passwd'), `${primary.user}:TEXT${primary.password}\n`, user);
  writeOwned(join(directory, 'pcp.conf'), '', user);
  writeOwned(hba, 'host all all 127.0.0.1/32 scram-sha-256\n', user);
  const sockets = `'${join(directory, 'sockets')}'`;
  // children that come and go would take the processor time that they had used with them: none ends on its own
  writeOwned(
    file,
    `${settings}
listen_addresses = '127.0.0.1'
port = ${port}
pcp_port = ${await freePort()}
unix_socket_directories = ${sockets}
socket_dir = ${sockets}
pcp_socket_dir = ${sockets}
${[primary, ...replicas].map(backendOf).join('\n')}
num_init_children = ${processes}
serialize_accept = on
child_life_time = 0
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
  const url = urlOf({ ...primary, port });
  const args = ['-n', '-f', file, '-F', join(directory, 'pcp.conf'), '-a', hba];
  const number = /\d+\.\d+\S*/.exec(version)?.[0] ?? '';
  return {
    name,
    description: `pgpool-II ${number}, ${mode}, ${processes} processes, each with a server connection of its own`,
    url,
    ...(await startProxy(program, args, url, user)),
    mostClients: processes,
    limitedBy: `it has a process for each client, here ${processes}`,
  };
}

function backendOf({ host, port }: Backend, i: number): string {
  return `backend_hostname${i} = '${host}'
backend_port${i} = ${port}
backend_flag${i} = 'DISALLOW_TO_FAILOVER'`;
}
