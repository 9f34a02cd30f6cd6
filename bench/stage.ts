import pg from 'pg';
import { type EmbeddedCluster, startEmbeddedCluster } from '../src/embedded/embedded-cluster.ts';
import { unprivilegedUser } from '../src/embedded/unprivileged-user.ts';
import { type Backend, type Stage, urlOf } from './contender/contender.ts';
import type { Plan } from './plan.ts';

/** The paced clients and who is beside them. */
const LEAST_CLIENTS = 80;
/** Beyond the clients of a benchmark: pools, replication, questions of proxies. */
const OTHER_CONNECTIONS = 150;
/** pgpool's processes beyond the clients: one is not free at once when its client has left. */
const SPARE_PROCESSES = 8;

export type RunningStage = Stage & { readonly version: string; stop(): Promise<void> };

/** A throw-away primary with two replicas. @param files that a process may have open */
export async function startStage(plan: Plan, files: number): Promise<RunningStage> {
  const clients = Math.max(LEAST_CLIENTS, ...plan.clients, ...plan.reconnecting, ...plan.writers);
  const processes = clients + SPARE_PROCESSES;
  const cluster = await startEmbeddedCluster({
    replicas: 2,
    durable: false,
    pgBin: plan.pgBin,
    settings: {
      // pgpool keeps the connections of clients that have left
      max_connections: clients + processes + OTHER_CONNECTIONS,
      shared_buffers: '256MB',
      max_wal_size: '4GB',
    },
  });
  try {
    const verifier = await verifierOf(cluster);
    const [primary, ...replicas] = cluster.nodes.map(({ port }): Backend => {
      return { host: '127.0.0.1', port, user: cluster.superuser, password: cluster.password, verifier };
    }) as [Backend, ...Backend[]];
    return {
      primary,
      replicas,
      serverConnections: clients,
      poolerClients: Math.min(files - 500, Math.max(1000, plan.idleClients + 500, plan.connects + 500)),
      processes,
      user: unprivilegedUser(),
      version: cluster.version,
      stop: () => cluster.stop(),
    };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

async function verifierOf({ nodes, superuser, password }: EmbeddedCluster): Promise<string> {
  const url = urlOf({ host: '127.0.0.1', port: nodes[0]?.port as number, user: superuser, password });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query('SELECT rolpassword FROM pg_authid WHERE rolname = $1', [superuser]);
    return rows[0].rolpassword;
  } finally {
    await client.end();
  }
}
