import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.ts';
import { type Contender, DATABASE, POOL_SIZE, type Stage, urlOf } from './contender.ts';
import { scratchDirectory, startProxy, writeOwned } from './proxy-process.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.js');

const WORKERS = 2;

/** Fairlead before the primary only: what the way through it costs. */
export function startFairlead(stage: Stage): Promise<Contender> {
  return start('Fairlead', 'the primary only', { ...stage, replicas: [] });
}

export function startFairleadWithReplicas(stage: Stage): Promise<Contender> {
  const { length } = stage.replicas;
  return start(`Fairlead, ${length} replicas`, `the primary and its ${length} replicas`, stage);
}

/** What further processes are worth, and cost where there is no core for them. */
export function startFairleadWithWorkers(stage: Stage): Promise<Contender> {
  return start(
    `Fairlead, ${WORKERS} workers`,
    `the primary only, workers = ${WORKERS}`,
    { ...stage, replicas: [] },
    WORKERS,
  );
}

/** As its users start it: a process of its own with a configuration file. */
async function start(
  name: string,
  scene: string,
  { primary, replicas, poolerClients }: Stage,
  workers = 1,
): Promise<Contender> {
  const port = await freePort();
  const file = join(scratchDirectory(null), 'fairlead.yaml');
  const nodes = [primary, ...replicas];
  const config = {
    listen: `127.0.0.1:${port}`,
    http: `127.0.0.1:${await freePort()}`,
    workers,
    cluster: {
      database: DATABASE,
      user: primary.user,
      password: primary.password,
      nodes: Object.fromEntries(nodes.map((node, i) => [`pg${i + 1}`, `${node.host}:${node.port}`])),
    },
    pool: { size: POOL_SIZE, max_clients: poolerClients },
    auth: { users: { [primary.user]: primary.verifier } },
    log: { level: 'error' },
  };
  const url = urlOf({ ...primary, port });
  // JSON is YAML
  writeOwned(file, JSON.stringify(config), null);
  const { pid, stop } = await startProxy(process.execPath, [MAIN, 'start', '-c', file], url, null);
  return {
    name,
    description: `Node ${process.version}, ${scene}, pool.size = ${POOL_SIZE}`,
    url,
    pid,
    stop,
    mostClients: poolerClients,
    limitedBy: `pool.max_clients is ${poolerClients}`,
  };
}
