/** `/metrics`: what the model, the counters and the pools say, read when Prometheus asks. Nothing is counted twice. */
import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import { cumulativeOf, type LatencyCounts } from '../core/latency-histogram.ts';
import { clusterView } from './cluster-view.ts';
import type { EventStream } from './event-stream.ts';
import type { HoldClock } from './hold-clock.ts';
import type { ApiDependencies } from './sources.ts';

type Labels = Record<string, string>;
type Sample = readonly [Labels, number | null];
type Samples = () => readonly Sample[] | Promise<readonly Sample[]>;

const BOUNDS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];
const ROLES = ['primary', 'replica', 'subscriber', 'unknown'];

export class Metrics {
  readonly #registry = new Registry();
  readonly #deps: ApiDependencies;
  readonly #hold: HoldClock;
  readonly #stream: EventStream;
  readonly #moves = { failover: 0, switchover: 0 };
  #degradations = 0;
  #unsubscribe: () => void = () => {};

  constructor(deps: ApiDependencies, hold: HoldClock, stream: EventStream) {
    this.#deps = deps;
    this.#hold = hold;
    this.#stream = stream;
  }

  start(): void {
    collectDefaultMetrics({ register: this.#registry });
    this.#unsubscribe = this.#deps.events.subscribe(({ kind }) => {
      if (kind === 'failover' || kind === 'switchover') this.#moves[kind]++;
      if (kind === 'sync-degraded') this.#degradations++;
    });
    this.#declareCluster();
    this.#declareNodes();
    this.#declareTraffic();
    this.#declareConnections();
  }

  stop(): void {
    this.#unsubscribe();
    this.#registry.clear();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #declareCluster(): void {
    const { cluster, replication, version } = this.#deps;
    const topology = () => cluster.topology.value;
    this.#gauge('build_info', 'Version of Fairlead; always 1.', ['version'], () => [[{ version }, 1]]);
    this.#gauge('epoch', 'Epoch of the assignment.', [], () => [[{}, topology().epoch]]);
    this.#gauge('timeline', 'Timeline of the primary.', [], () => [[{}, topology().timeline]]);
    this.#gauge('phase', 'Phase of the failover controller; 1 for the present one.', ['phase'], () => [
      [{ phase: topology().phase }, 1],
    ]);
    this.#gauge('primary_assigned', '1 while writes have somewhere to go.', [], () => [
      [{}, topology().primary === null ? 0 : 1],
    ]);
    this.#gauge('paused', '1 while an operator holds all traffic.', [], () => [[{}, topology().paused ? 1 : 0]]);
    this.#gauge('holding_seconds', 'How long statements have been held.', [], () => [
      [{}, (this.#hold.value?.forMs ?? 0) / 1000],
    ]);
    this.#gauge('replication_mode', 'How commits reach Fairlead; 1 for the present mode.', ['mode'], () => [
      [{ mode: replication.state.value.mode }, 1],
    ]);
    this.#counter('commits_total', 'Commits of the primary seen.', [], () => [[{}, cluster.commits.commits]]);
    const { audit } = cluster;
    this.#counter('audited_reads_total', 'Reads on replicas that were checked against the facts.', ['result'], () => [
      [{ result: 'passed' }, audit.passed],
      [{ result: 'violation' }, audit.violations],
      [{ result: 'undecided' }, audit.undecided],
    ]);
    this.#counter('failovers_total', 'Unplanned promotions since the start.', [], () => [[{}, this.#moves.failover]]);
    this.#counter('switchovers_total', 'Planned promotions since the start.', [], () => [[{}, this.#moves.switchover]]);
    const synchrony = () => cluster.synchrony.value;
    this.#gauge('sync_copies', 'Followers that commits need: configured, and guaranteed.', ['kind'], () => {
      const value = synchrony();
      if (value === null) return [];
      const guaranteed = value.guarantee === null ? null : Math.min(...value.guarantee.map(({ copies }) => copies));
      return [
        [{ kind: 'configured' }, value.copies],
        [{ kind: 'guaranteed' }, guaranteed],
      ];
    });
    this.#gauge('sync_state', 'State of synchronous replication; 1 for the present one.', ['state'], () => {
      const value = synchrony();
      return value === null ? [] : [[{ state: value.state }, 1]];
    });
    this.#counter('sync_degradations_total', 'Times that commits went on with fewer copies.', [], () => [
      [{}, this.#degradations],
    ]);
    this.#gauge('http_streams', 'Consumers of /api/stream.', [], () => [[{}, this.#stream.consumers]]);
  }

  #declareNodes(): void {
    const { cluster, replication } = this.#deps;
    const nodes = () => clusterView(cluster, replication.state.value, null).nodes;
    this.#gauge('node_up', '1 while the node answers.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.failure === null && n.answeredAt !== null ? 1 : 0]),
    );
    this.#gauge('node_role', 'Observed role; 1 for the present one.', ['node', 'role'], () =>
      nodes().flatMap((n) => ROLES.map((role): Sample => [{ node: n.name, role }, n.role === role ? 1 : 0])),
    );
    this.#gauge('node_state', 'State; 1 for the present one.', ['node', 'state'], () =>
      nodes().map((n) => [{ node: n.name, state: n.state }, 1]),
    );
    this.#gauge('node_sync', 'How commits rely on the node; 1 for the present state.', ['node', 'state'], () =>
      nodes().flatMap((n): Sample[] => (n.sync === null ? [] : [[{ node: n.name, state: n.sync }, 1]])),
    );
    this.#gauge('node_readable', '1 while reads may go to the replica.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.readable ? 1 : 0]),
    );
    this.#gauge('node_timeline', 'Timeline of the node.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.timeline]),
    );
    this.#gauge('node_lag_bytes', 'WAL that the node has not replayed; absent while unknown.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.lag.bytes]),
    );
    this.#gauge('node_lag_seconds', 'Age of the oldest commit not replayed; absent while unknown.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.lag.ms === null ? null : n.lag.ms / 1000]),
    );
    this.#gauge('node_replay_position_bytes', 'Replay position (insert position of a primary).', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, Number(cluster.replayLsn(n.name))]),
    );
    this.#gauge('node_probe_seconds', 'Round trip of the last probe.', ['node'], () =>
      nodes().map((n) => [{ node: n.name }, n.probeMs === null ? null : n.probeMs / 1000]),
    );
  }

  #declareTraffic(): void {
    const { traffic } = this.#deps;
    this.#counter('statements_total', 'Statements answered.', ['node', 'class', 'reason'], () =>
      traffic.snapshot().flows.map((f) => [{ node: f.node, class: f.class, reason: f.reason }, f.total]),
    );
    this.#counter('errors_total', 'Statements answered with an error.', [], () => [
      [{}, traffic.snapshot().errors.total],
    ]);
    this.#counter('retries_total', 'Statements that ran again elsewhere.', [], () => [
      [{}, traffic.snapshot().retries.total],
    ]);
    this.#gauge('replica_reads_ratio', 'Share of reads on replicas, last minute.', [], () => [
      [{}, traffic.snapshot().readsOnReplicas],
    ]);
    this.#gauge('statement_latency_seconds', 'Latency quantiles of the last minute.', ['class', 'quantile'], () => {
      const { latencyMs } = traffic.snapshot();
      return (['read', 'write'] as const).flatMap((c) => {
        const q = latencyMs[c];
        const at = { '0.5': q.p50, '0.95': q.p95, '0.99': q.p99, '0.999': q.p999 };
        return Object.entries(at).map(
          ([quantile, ms]): Sample => [{ class: c, quantile }, ms === null ? null : ms / 1000],
        );
      });
    });
    this.#registry.registerMetric(
      histogram('fairlead_statement_duration_seconds', 'Latency of statements.', () => traffic.histograms),
    );
  }

  #declareConnections(): void {
    const { pools, sessions, workers } = this.#deps;
    const pool = ['node', 'database', 'user'];
    this.#gauge('sessions', 'Client connections.', ['state'], () => {
      const { total: _, ...states } = sessions.sessions();
      return Object.entries(states).map(([state, count]) => [{ state }, count]);
    });
    this.#gauge('sessions_open', 'Client connections in all.', [], () => [[{}, sessions.sessions().total]]);
    this.#gauge('worker_clients', 'Client connections by process.', ['worker'], async () =>
      (await workers()).map(({ worker, clients }) => [{ worker: String(worker) }, clients]),
    );
    this.#gauge('worker_memory_bytes', 'Resident memory by process.', ['worker'], async () =>
      (await workers()).map(({ worker, memory }) => [{ worker: String(worker) }, memory.rss]),
    );
    this.#counter('worker_cpu_seconds_total', 'Processor time by process.', ['worker'], async () =>
      (await workers()).map(({ worker, cpu }) => [{ worker: String(worker) }, (cpu.user + cpu.system) / 1e6]),
    );
    this.#gauge('server_connections', 'Server connections.', [...pool, 'state'], () =>
      pools
        .pools()
        .flatMap(({ node, database, user, active, idle, connecting }) =>
          Object.entries({ active, idle, connecting }).map(
            ([state, count]): Sample => [{ node, database, user, state }, count],
          ),
        ),
    );
    this.#gauge('pool_size', 'Most server connections of the pool.', pool, () =>
      pools.pools().map(({ node, database, user, size }) => [{ node, database, user }, size]),
    );
    this.#gauge('pool_waiting_sessions', 'Sessions that wait for a server connection.', pool, () =>
      pools.pools().map(({ node, database, user, waiting }) => [{ node, database, user }, waiting]),
    );
    this.#gauge('pool_max_wait_seconds', 'How long the first of them has waited.', pool, () =>
      pools.pools().map(({ node, database, user, maxWaitMs }) => [{ node, database, user }, maxWaitMs / 1000]),
    );
    this.#counter('pool_shared_reads_total', 'Reads sent behind those of other sessions.', pool, () =>
      pools.pools().map(({ node, database, user, sharedReads }) => [{ node, database, user }, sharedReads]),
    );
    this.#counter('pool_displaced_reads_total', 'Of those, taken away again from behind a slow one.', pool, () =>
      pools.pools().map(({ node, database, user, displacedReads }) => [{ node, database, user }, displacedReads]),
    );
  }

  #gauge(name: string, help: string, labelNames: string[], samples: Samples): void {
    new Gauge({
      name: `fairlead_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      async collect() {
        const now = await samples();
        this.reset();
        // a gauge without labels starts at 0, which would be a lie for a value that is not known
        if (labelNames.length === 0) this.remove();
        for (const [labels, value] of now) if (value !== null) this.set(labels, value);
      },
    });
  }

  #counter(name: string, help: string, labelNames: string[], samples: Samples): void {
    new Counter({
      name: `fairlead_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      async collect() {
        const now = await samples();
        this.reset();
        for (const [labels, value] of now) if (value !== null) this.inc(labels, value);
      },
    });
  }
}

/** prom-client can only observe values one by one; ours are counted already, so the metric is built by hand. */
function histogram(
  name: string,
  help: string,
  histograms: () => Readonly<Record<string, LatencyCounts>>,
): Metric<string> {
  const get = async () => ({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: Object.entries(histograms()).flatMap(([kind, h]) => [
      ...cumulativeOf(
        h,
        BOUNDS_SECONDS.map((s) => s * 1000),
      ).map((value, i) => ({
        metricName: `${name}_bucket`,
        labels: { class: kind, le: BOUNDS_SECONDS[i] as number },
        value,
      })),
      { metricName: `${name}_bucket`, labels: { class: kind, le: '+Inf' }, value: h.everCount },
      { metricName: `${name}_sum`, labels: { class: kind }, value: h.everSumMs / 1000 },
      { metricName: `${name}_count`, labels: { class: kind }, value: h.everCount },
    ]),
  });
  return { name, help, type: 'histogram', get, reset() {} } as unknown as Metric<string>;
}
