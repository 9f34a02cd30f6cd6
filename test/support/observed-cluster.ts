import { ControlConnection, controlTarget } from '../../src/backend/control-connection.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { type Config, configSchema, type NodeConfig, nodesOf } from '../../src/config/config.ts';
import { SILENT } from '../../src/core/log.ts';
import { type Lsn, parseLsn } from '../../src/core/lsn.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import { Replication } from '../../src/replication/replication.ts';
import type { TestCluster } from './cluster.ts';
import { until } from './wait.ts';

/** The model with the parts that fill it, and no proxy: pg1 is assigned without a controller. */
export type ObservedCluster = {
  readonly config: Config;
  readonly model: Cluster;
  readonly monitor: Monitor;
  readonly replication: Replication;
  /** Waits until the stream has told everything that pg1 has written by now. @returns that position */
  untilTold(): Promise<Lsn>;
  stop(): Promise<void>;
};

export function configOf(cluster: TestCluster): Config {
  const nodes = Object.fromEntries(cluster.nodes.map((n) => [n.name, `${n.host}:${n.port}`]));
  return configSchema.parse({ cluster: { user: cluster.superuser, password: cluster.password, nodes } });
}

/** @param mode what to wait for */
export async function observe(
  cluster: TestCluster,
  mode: 'streaming' | 'polling' = 'streaming',
): Promise<ObservedCluster> {
  const config = configOf(cluster);
  const model = new Cluster(nodesOf(config), config.routing.max_lag);
  const target = (node: NodeConfig) => controlTarget(config, node);
  const monitor = new Monitor(model, { config, log: SILENT, target });
  const replication = new Replication(model, { config, log: SILENT, target });
  monitor.start();
  await monitor.probeNow();
  replication.start();
  const seen = await until(() => model.observations.of('pg1').last, { what: 'an observation of pg1' });
  const { timeline, systemId } = seen;
  model.assignment.set({ ...model.assignment.value, epoch: 1, primary: 'pg1', timeline, systemId, phase: 'steady' });
  await until(() => replication.state.value.mode === mode, { what: `replication in mode ${mode}`, timeoutMs: 60_000 });
  const control = new ControlConnection(target(model.nodes[0] as NodeConfig), 'test');
  return {
    config,
    model,
    monitor,
    replication,
    untilTold: async () => {
      const [row] = await control.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
      const position = parseLsn((row as { lsn: string }).lsn);
      await until(() => model.freshness.asOf >= position, { what: 'the stream to catch up', timeoutMs: 60_000 });
      return position;
    },
    stop: async () => {
      control.close();
      await replication.stop();
      await monitor.stop();
    },
  };
}
