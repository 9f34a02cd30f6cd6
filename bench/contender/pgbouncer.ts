import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.ts';
import { type Contender, POOL_SIZE, type Stage, urlOf } from './contender.ts';
import { findProgram } from './program.ts';
import { scratchDirectory, startProxy, writeOwned } from './proxy-process.ts';

/** Null when it is not installed. */
export async function startPgbouncer({ primary, poolerClients, user }: Stage): Promise<Contender | null> {
  const program = findProgram('pgbouncer');
  if (program === null) return null;
  const version = /(\d+)\.(\d+)\S*/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }));
  const preparesStatements = version !== null && (Number(version[1]) > 1 || Number(version[2]) >= 21);
  const directory = scratchDirectory(user);
  const port = await freePort();
  const users = join(directory, 'users.txt');
  const file = join(directory, 'pgbouncer.ini');
  // a verifier as its auth_query would find it: of a password in clear text it would derive a key at each login, which takes milliseconds
  writeOwned(users, `"${primary.user}" "${primary.verifier}"\n`, user);
  writeOwned(
    file,
    `[databases]
* = host=${primary.host} port=${primary.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
listen_backlog = 4096
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${POOL_SIZE}
max_client_conn = ${poolerClients}
log_connections = 0
log_disconnections = 0
stats_period = 3600
${preparesStatements ? 'max_prepared_statements = 500' : ''}
`,
    user,
  );
  const url = urlOf({ ...primary, port });
  return {
    name: 'PgBouncer',
    description: `PgBouncer ${version?.[0] ?? ''}, pool_mode = transaction, default_pool_size = ${POOL_SIZE}`,
    url,
    ...(await startProxy(program, [file], url, user)),
    mostClients: poolerClients,
    limitedBy: `max_client_conn is ${poolerClients}`,
  };
}
