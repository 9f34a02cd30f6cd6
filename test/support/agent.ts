/** `fairlead agent` as a process of its own, beside one server of a test cluster. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AgentClient } from '../../src/agent/agent-client.ts';
import type { AgentStatus } from '../../src/agent/operation.ts';
import { freePort } from '../../src/embedded/free-port.ts';
import type { Certificate } from './certificates.ts';
import { usesDocker } from './cluster.ts';
import { type Running, startCommand } from './command-line.ts';
import { systemPostgres } from './needs.ts';
import type { TestCluster } from './test-cluster.ts';
import { until } from './wait.ts';

export const AGENT_TOKEN = 'a token of the tests';

export type TestAgent = {
  readonly address: string;
  readonly client: AgentClient;
  /** The server's, as it was when the agent was started. */
  readonly dataDirectory: string;
  readonly pid: number;
  status(): Promise<AgentStatus>;
  /** SIGKILL; the server goes on. */
  kill9(): Promise<void>;
  /** The same agent again, at the same address. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

/** Where a server's programs are, and its data. It has to answer. */
export async function placesOfServer(cluster: TestCluster, name: string): Promise<{ data: string; bin: string }> {
  const [row] = await cluster
    .node(name)
    .query<{ data: string; bin: string }>(
      `SELECT current_setting('data_directory') AS data, (SELECT setting FROM pg_config WHERE name = 'BINDIR') AS bin`,
    );
  if (row === undefined) throw new Error(`no answer of ${name}`);
  return row;
}

/**
 * @param options further arguments, such as those of a server that is not there yet
 * @param tls what the agent shows, and what that is verified with
 */
export async function startAgent(
  { data, bin }: { data: string; bin: string },
  options: readonly string[] = [],
  tls: { readonly certificate: Certificate; readonly ca: string } | null = null,
): Promise<TestAgent> {
  const port = await freePort();
  const client = new AgentClient({ host: '127.0.0.1', port }, { token: AGENT_TOKEN, tls_ca: tls?.ca ?? null });
  const { certFile, keyFile } = tls?.certificate ?? {};
  const files = tls === null ? {} : { FAIRLEAD_AGENT_TLS_CERT: certFile, FAIRLEAD_AGENT_TLS_KEY: keyFile };
  const start = async (): Promise<Running> => {
    const args = ['agent', '--data-dir', data, '--pg-bin', bin, '--listen', `127.0.0.1:${port}`, ...options];
    const running = startCommand(args, { env: { FAIRLEAD_AGENT_TOKEN: AGENT_TOKEN, ...files } });
    const answers = until(() => client.status(), { what: 'the agent', timeoutMs: 60_000 });
    const over = running.ended.then(({ stderr }) => Promise.reject(new Error(stderr)));
    over.catch(() => {});
    await Promise.race([answers, over]);
    return running;
  };
  let running = await start();
  return {
    address: `127.0.0.1:${port}`,
    client,
    dataDirectory: data,
    get pid() {
      return running.child.pid as number;
    },
    status: () => client.status(),
    kill9: async () => {
      running.child.kill('SIGKILL');
      await running.ended;
    },
    restart: async () => {
      running = await start();
    },
    stop: async () => {
      running.child.kill('SIGTERM');
      const { stderr } = await running.ended;
      if (process.env.FAIRLEAD_TEST_LOG) process.stderr.write(stderr);
    },
  };
}

/** For tests of agents, which stand on the machine of their server. */
export const NO_AGENTS = usesDocker() ? 'this machine cannot: containers have no agents beside them' : false;

/** A directory of programs with pg_rewind: that of the tests, else the system's; null when there is none. */
export function programsWithRewind(): string | null {
  const chosen = process.env.FAIRLEAD_TEST_PG_BIN || systemPostgres()?.directory;
  return chosen !== undefined && existsSync(join(chosen, 'pg_rewind')) ? chosen : null;
}

export function needsRewind(): string | false {
  if (NO_AGENTS) return NO_AGENTS;
  return programsWithRewind() === null
    ? 'no pg_rewind here: the bundled PostgreSQL has none (install PostgreSQL, or FAIRLEAD_TEST_PG_BIN=directory)'
    : false;
}
