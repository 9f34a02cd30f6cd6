import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.ts';
import { type Contender, type Stage, urlOf } from './contender.ts';
import { findProgram } from './program.ts';
import { scratchDirectory, startProxy, writeOwned } from './proxy-process.ts';

/** Passes bytes on and knows nothing of PostgreSQL: what any hop costs. Null when it is not installed. */
export async function startHaproxy({ primary, serverConnections, user }: Stage): Promise<Contender | null> {
  const program = findProgram('haproxy');
  if (program === null) return null;
  const version = /version (\d+\.\d+\.\d+)/.exec(execFileSync(program, ['-v'], { encoding: 'utf8' }))?.[1] ?? '';
  const port = await freePort();
  const file = join(scratchDirectory(user), 'haproxy.cfg');
  writeOwned(
    file,
    `global
  maxconn ${serverConnections}
defaults
  mode tcp
  maxconn ${serverConnections}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:${port}
  server primary ${primary.host}:${primary.port}
`,
    user,
  );
  const url = urlOf({ ...primary, port });
  return {
    name: 'HAProxy',
    description: `HAProxy ${version}, mode tcp, ${availableParallelism()} threads, a server connection for each client`,
    url,
    // in the foreground, as one process
    ...(await startProxy(program, ['-db', '-f', file], url, user)),
    mostClients: serverConnections,
    limitedBy: `it has a server connection for each client, and PostgreSQL room for ${serverConnections}`,
  };
}
