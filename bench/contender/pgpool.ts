import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.ts';
import { type Contender, type Stage, urlOf } from './contender.ts';
import { findProgram } from './program.ts';
import { scratchDirectory, startProxy, writeOwned } from './proxy-process.ts';

/**
 * pgpool-II does not pool by transaction: each of its processes keeps a server connection for its client. Null when it is not
 * installed.
 */
export async function startPgpool({ primary, processes, user }: Stage): Promise<Contender | null> {
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
    `backend_clustering_mode = 'raw'
listen_addresses = '127.0.0.1'
port = ${port}
pcp_port = ${await freePort()}
unix_socket_directories = ${sockets}
socket_dir = ${sockets}
pcp_socket_dir = ${sockets}
backend_hostname0 = '${primary.host}'
backend_port0 = ${primary.port}
backend_flag0 = 'DISALLOW_TO_FAILOVER'
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
  const name = /\d+\.\d+\S*/.exec(version)?.[0] ?? '';
  return {
    name: 'pgpool-II',
    description: `pgpool-II ${name}, raw mode, ${processes} processes, each with a server connection of its own`,
    url,
    ...(await startProxy(program, args, url, user)),
    mostClients: processes,
    limitedBy: `it has a process for each client, here ${processes}`,
  };
}
