/**
 * A cluster of containers. They share the machine's network, each with a port of its own: one address names a node for the
 * test, for Fairlead and for the other nodes alike, and it stays the same when a container is killed and started again.
 */
import { randomBytes } from 'node:crypto';
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { slotOf } from '../../src/embedded/embedded-cluster.ts';
import { freePort } from '../../src/embedded/free-port.ts';
import { renderSettings, serverSettings } from '../../src/embedded/server-settings.ts';
import { untilStreaming } from './streaming.ts';
import { queryOnce, type ResolvedOptions, type TestCluster, type TestNode } from './test-cluster.ts';
import { until } from './wait.ts';

const SUPERUSER = 'postgres';
const SETTINGS_SCRIPT = '/docker-entrypoint-initdb.d/settings.sh';
const REPLICA_SCRIPT = '/replica.sh';

type Plan = { readonly options: ResolvedOptions; readonly image: string; readonly password: string };

/** FAIRLEAD_TEST_IMAGE (or PG_IMAGE) names the image; by default the official one. */
export async function startDockerCluster(options: ResolvedOptions): Promise<TestCluster> {
  const image = process.env.FAIRLEAD_TEST_IMAGE || process.env.PG_IMAGE || 'postgres:18';
  const plan: Plan = { options, image, password: randomBytes(12).toString('hex') };
  const nodes: TestNode[] = [];
  const stopAll = async () => {
    await Promise.all(nodes.map((node) => node.stop('immediate')));
    await Promise.all(containers.map((container) => container.stop({ timeout: 0, remove: true, removeVolumes: true })));
  };
  const containers: StartedTestContainer[] = [];
  const add = async (name: string, port: number, definition: GenericContainer) => {
    const container = await definition.start();
    containers.push(container);
    nodes.push(testNode(name, port, plan.password, container));
    await untilAnswers(nodes.at(-1) as TestNode);
  };
  try {
    const primaryPort = await freePort();
    await add('pg1', primaryPort, primaryContainer(plan, primaryPort));
    for (let number = 2; number <= options.replicas + 1; number++) {
      const port = await freePort();
      await add(`pg${number}`, port, replicaContainer(plan, `pg${number}`, port, primaryPort));
    }
    const [row] = await (nodes[0] as TestNode).query<{ v: number }>(
      "SELECT current_setting('server_version_num')::int / 10000 AS v",
    );
    const cluster: TestCluster = {
      nodes,
      superuser: SUPERUSER,
      password: plan.password,
      backend: 'docker',
      major: row?.v ?? 0,
      node: (name) => {
        const found = nodes.find((node) => node.name === name);
        if (found === undefined) throw new RangeError(`no node ${name} in this cluster`);
        return found;
      },
      stop: stopAll,
    };
    await untilStreaming(cluster, options.replicas);
    return cluster;
  } catch (error) {
    await stopAll();
    throw error;
  }
}

function settingsScript(port: number, options: ResolvedOptions): string {
  // the image's own start needs its socket directory
  const { unix_socket_directories: _, ...settings } = serverSettings(port, false, options.settings);
  return `cat >> "$PGDATA/postgresql.conf" <<'SETTINGS'\n\n${renderSettings(settings)}SETTINGS\n`;
}

function container(plan: Plan): GenericContainer {
  return new GenericContainer(plan.image)
    .withNetworkMode('host')
    .withEnvironment({
      POSTGRES_USER: SUPERUSER,
      POSTGRES_PASSWORD: plan.password,
      POSTGRES_DB: 'postgres',
      POSTGRES_INITDB_ARGS: '--encoding=UTF8 --locale=C --no-sync',
    })
    .withStartupTimeout(120_000);
}

function primaryContainer(plan: Plan, port: number): GenericContainer {
  const replication = `echo 'host replication all all scram-sha-256' >> "$PGDATA/pg_hba.conf"\n`;
  return container(plan)
    .withCopyContentToContainer([
      { content: settingsScript(port, plan.options) + replication, target: SETTINGS_SCRIPT, mode: 0o644 },
    ])
    .withWaitStrategy(Wait.forLogMessage(/PostgreSQL init process complete/));
}

function replicaContainer(plan: Plan, name: string, port: number, primaryPort: number): GenericContainer {
  const source = `host=127.0.0.1 port=${primaryPort} user=${SUPERUSER} password=${plan.password} application_name=${name}`;
  const script = `set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  pg_basebackup -d '${source}' -D "$PGDATA" -R -X stream -C -S ${slotOf(name)} -c fast --no-sync
  chown -R postgres "$PGDATA"
  chmod 700 "$PGDATA"
  ${settingsScript(port, plan.options)}
fi
exec docker-entrypoint.sh postgres
`;
  return container(plan)
    .withCopyContentToContainer([{ content: script, target: REPLICA_SCRIPT, mode: 0o755 }])
    .withCommand(['bash', REPLICA_SCRIPT])
    .withWaitStrategy(Wait.forLogMessage(/ready to accept read.only connections/));
}

function testNode(name: string, port: number, password: string, started: StartedTestContainer): TestNode {
  const url = `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`;
  const handle = async () => (await getContainerRuntimeClient()).container.getById(started.getId());
  const state = async () => (await (await handle()).inspect()).State;
  const kill = async (signal: string) => {
    if ((await state()).Paused) await (await handle()).unpause();
    if (!(await state()).Running) return;
    await (await handle()).kill({ signal });
    await until(async () => !(await state()).Running, { what: `the end of ${name}`, timeoutMs: 30_000 });
  };
  const node: TestNode = {
    name,
    host: '127.0.0.1',
    port,
    url,
    localUrl: url,
    query: (text, values) => queryOnce(url, text, values),
    kill9: () => kill('SIGKILL'),
    freeze: async () => {
      await (await handle()).pause();
    },
    thaw: async () => {
      if ((await state()).Paused) await (await handle()).unpause();
    },
    start: async () => {
      if (!(await state()).Running) await (await handle()).start();
      await untilAnswers(node);
    },
    stop: (mode = 'fast') => kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT'),
  };
  return node;
}

async function untilAnswers(node: TestNode): Promise<void> {
  await until(() => node.query('SELECT 1'), { what: `an answer of ${node.name}`, timeoutMs: 60_000, everyMs: 100 });
}
