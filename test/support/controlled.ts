/** Monitor and failover controller alone before a test cluster: no proxy, no store tables, everything observable. */
import { ControlConnection, type ControlTarget } from '../../src/backend/control-connection.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { type ConfigInput, configSchema, nodesOf } from '../../src/config/config.ts';
import { type Log, SILENT } from '../../src/core/log.ts';
import { Controller } from '../../src/failover/controller.ts';
import type { EpochRecord, FailoverEvent } from '../../src/failover/failover-store.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import type { SynchronyRecord } from '../../src/store/records.ts';
import { NO_TLS } from './server-tls.ts';
import type { TestCluster } from './test-cluster.ts';
import { until } from './wait.ts';

export type Controlled = {
  readonly model: Cluster;
  readonly controller: Controller;
  readonly events: readonly FailoverEvent[];
  readonly epochs: readonly EpochRecord[];
  /** The newest event of that kind, once there is one. */
  event(kind: string, timeoutMs?: number): Promise<FailoverEvent>;
  /** Resolves when that node, or any, is the primary and the controller is at rest. */
  steady(primary?: string, timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
};

export type ControlledOptions = {
  readonly failover?: ConfigInput['failover'];
  readonly replication?: ConfigInput['replication'];
  /** What an earlier run recorded. */
  readonly epochs?: readonly EpochRecord[];
  /** When it promoted by itself; wall clock milliseconds. */
  readonly promotions?: readonly number[];
  /** Settings of single nodes: weight, promotable. */
  readonly nodes?: Readonly<Record<string, { readonly weight?: number; readonly promotable?: boolean }>>;
  /** False: returns at once, without waiting for a primary to be adopted. */
  readonly adopted?: boolean;
};

export async function startControlled(cluster: TestCluster, options: ControlledOptions = {}): Promise<Controlled> {
  const { superuser: user, password } = cluster;
  const addressed = cluster.nodes.map(
    ({ name, host, port }) => [name, { address: `${host}:${port}`, ...options.nodes?.[name] }] as const,
  );
  const config = configSchema.parse({
    cluster: { user, password, nodes: Object.fromEntries(addressed) },
    failover: options.failover,
    replication: options.replication,
  });
  const model = new Cluster(nodesOf(config), config.routing.max_lag);
  const log = process.env.FAIRLEAD_TEST_LOG ? stderrLog : SILENT;
  const target = (name: string): ControlTarget => {
    const { host, port } = cluster.node(name);
    return { name, host, port, tls: NO_TLS, database: 'postgres', user, password };
  };
  const monitor = new Monitor(model, { config, log, target: (node) => target(node.name) });
  const events: FailoverEvent[] = [];
  const epochs: EpochRecord[] = [...(options.epochs ?? [])];
  const synchrony: SynchronyRecord[] = [];
  const controller = new Controller(model, {
    config,
    log,
    target,
    demote: () => {},
    agents: () => new Set(),
    clients: { quiesce: async () => {}, settled: async () => {}, acknowledgedAfter: async () => [] },
    store: {
      recentPromotions: async (_node, sinceMs) => [...(options.promotions ?? [])].filter((atMs) => atMs >= sinceMs),
      latestEpoch: async () => epochs.at(-1) ?? null,
      recordEpoch: async (record) => void epochs.push(record),
      recordEvent: async (event) => void events.push(event),
      latestSynchrony: async () => synchrony.at(-1) ?? null,
      recordSynchrony: async (record, event) => {
        synchrony.push(record);
        if (event !== null) events.push(event);
      },
    },
  });
  controller.start();
  monitor.start();
  const found: Controlled = {
    model,
    controller,
    events,
    epochs,
    event: (kind, timeoutMs = 30_000) =>
      until(() => events.findLast((event) => event.kind === kind), { what: `an event ${kind}`, timeoutMs }),
    steady: async (primary, timeoutMs = 30_000) => {
      const rests = () => {
        const { value } = model.assignment;
        return value.phase === 'steady' && (primary === undefined || value.primary === primary);
      };
      await until(rests, {
        what: `primary ${primary ?? ''}: ${JSON.stringify(model.assignment.value.reason)}`,
        timeoutMs,
      });
    },
    stop: async () => {
      await controller.stop();
      await monitor.stop();
    },
  };
  try {
    if (options.adopted !== false) await found.steady();
    return found;
  } catch (error) {
    await found.stop();
    throw error;
  }
}

/** One connection to a node that stays open, like an application's. */
export function directly(cluster: TestCluster, name: string): ControlConnection {
  const { host, port } = cluster.node(name);
  const { superuser: user, password } = cluster;
  return new ControlConnection({ name, host, port, tls: NO_TLS, database: 'postgres', user, password }, 'application');
}

const write = (level: string) => (fields: object, message: string) => {
  const values = JSON.stringify(fields, (_, value) => (typeof value === 'bigint' ? String(value) : value));
  process.stderr.write(`${(performance.now() / 1000).toFixed(3)} ${level} ${message} ${values}\n`);
};

const stderrLog: Log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
