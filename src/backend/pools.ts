/**
 * All server connections. Follows the topology: a node that lost its role, is fenced or does not answer loses its connections at
 * once, so that no statement can reach a former primary.
 */
import type { Assignment } from '../cluster/assignment.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { maybeDead } from '../cluster/observation.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import { type Config, nodesOf, type ServerTls } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { ServerSecret } from '../wire/secret.ts';
import { Pool, type PoolKey, type Purpose } from './pool.ts';

/** A client's user as servers know it. */
export type Identity = { readonly user: string; readonly secret: ServerSecret | null };

/** What a pool does now. */
export type PoolStatistics = PoolKey & {
  readonly size: number;
  readonly active: number;
  readonly idle: number;
  readonly connecting: number;
  readonly waiting: number;
  readonly maxWaitMs: number;
};

/** Parameters every server connection starts with; the clients' own settings are applied per use. */
const PARAMETERS: readonly (readonly [string, string])[] = [
  ['application_name', 'fairlead'],
  ['client_encoding', 'UTF8'],
];
const READ_ONLY: readonly (readonly [string, string])[] = [
  ...PARAMETERS,
  ['options', '-c default_transaction_read_only=on'],
];

const TICK_MS = 250;
/** A replica that has not answered for two probes: what runs there is run elsewhere. One lost probe is no reason to break transactions. */
const SILENT_PROBES = 2;

export class Pools {
  readonly #cluster: Cluster;
  readonly #config: () => Config;
  readonly #log: Log;
  /** node → purpose+database+user → pool */
  readonly #pools = new Map<string, Map<string, Pool>>();
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(cluster: Cluster, config: () => Config, log: Log) {
    this.#cluster = cluster;
    this.#config = config;
    this.#log = log;
  }

  start(): void {
    this.#unsubscribe = this.#cluster.topology.subscribe((topology) =>
      this.#follow(topology, this.#cluster.assignment.value),
    );
    this.#timer = setInterval(() => this.#tick(nowMs()), TICK_MS).unref();
  }

  stop(): void {
    this.#unsubscribe?.();
    clearInterval(this.#timer);
    for (const pool of this.all()) pool.destroy('fairlead stops');
    this.#pools.clear();
  }

  *all(): Iterable<Pool> {
    for (const pools of this.#pools.values()) yield* pools.values();
  }

  /** The pool of a node for an identity; made on first use. */
  of(node: TopologyNode, purpose: Purpose, database: string, identity: Identity): Pool {
    const pools = this.#ofNode(node.name);
    const id = `${purpose}\0${database}\0${identity.user}`;
    let pool = pools.get(id);
    if (pool === undefined) {
      const { host, port } = node;
      pool = new Pool(
        { node: node.name, purpose, database, user: identity.user },
        () => ({
          node: node.name,
          host,
          port,
          tls: this.#tlsOf(node.name),
          database,
          user: identity.user,
          secret: identity.secret,
          parameters: purpose === 'ro' ? READ_ONLY : PARAMETERS,
          timeoutMs: 0,
        }),
        () => {
          const { pool: p } = this.#config();
          return {
            size: p.size,
            connectTimeoutMs: p.connect_timeout,
            idleTimeoutMs: p.server_idle_timeout,
            lifetimeMs: p.server_lifetime,
          };
        },
      );
      pools.set(id, pool);
    }
    return pool;
  }

  /** One line per pool, for people and metrics. */
  statistics(): PoolStatistics[] {
    const { size } = this.#config().pool;
    return [...this.all()].map((pool) => ({
      ...pool.key,
      size,
      active: pool.activeCount,
      idle: pool.idleCount,
      connecting: pool.openingCount,
      waiting: pool.waitingCount,
      maxWaitMs: pool.longestWaitMs(nowMs()),
    }));
  }

  /** Exchanges and checkouts a node has before it: what a read would queue behind. Infinity when logins as `identity` fail there. */
  load(node: string, database: string, identity: Identity): number {
    let load = 0;
    const pools = this.#pools.get(node);
    if (pools === undefined) return 0;
    for (const pool of pools.values()) {
      load += pool.activeCount + pool.waitingCount;
      const { key } = pool;
      const same = key.database === database && key.user === identity.user && key.purpose === 'ro';
      if (same && pool.brokenUntilMs > nowMs()) return Number.POSITIVE_INFINITY;
    }
    return load;
  }

  #tick(atMs: number): void {
    for (const pool of this.all()) pool.tidy(atMs);
    const { probe_interval: intervalMs, probe_timeout: timeoutMs } = this.#config().cluster;
    for (const node of this.#cluster.topology.value.nodes) {
      const { failure, failingSinceMs } = this.#cluster.observations.of(node.name);
      if (failure === null || failingSinceMs === null || !maybeDead(failure.kind) || node.role !== 'replica') continue;
      const silentMs = atMs - failingSinceMs;
      if (failure.kind !== 'refused' && silentMs < timeoutMs + intervalMs * SILENT_PROBES) continue;
      this.#drop(node.name, 'ro', failure.message, true);
    }
  }

  #tlsOf(node: string): ServerTls {
    const config = this.#config();
    return nodesOf(config).find(({ name }) => name === node)?.tls ?? config.cluster.tls;
  }

  #ofNode(node: string): Map<string, Pool> {
    let pools = this.#pools.get(node);
    if (pools === undefined) {
      pools = new Map();
      this.#pools.set(node, pools);
    }
    return pools;
  }

  #follow(topology: Topology, assignment: Assignment): void {
    for (const node of topology.nodes) {
      if (mayNotWrite(node, topology, assignment))
        this.#drop(node.name, 'rw', `no longer the primary (${node.state})`, true);
      if (node.role === 'replica' && (node.state === 'needs rejoin' || node.state === 'foreign')) {
        this.#drop(node.name, 'ro', node.reason, true);
      } else if (node.role === 'primary') {
        // promoted: connections that open read-only transactions are of no use any more, but reads in flight may finish
        this.#drop(node.name, 'ro', 'promoted', false);
      }
    }
  }

  #drop(node: string, purpose: Purpose, reason: string, atOnce: boolean): void {
    const pools = this.#pools.get(node);
    if (pools === undefined) return;
    for (const [id, pool] of [...pools]) {
      if (pool.key.purpose !== purpose) continue;
      pools.delete(id);
      this.#log.debug(
        { node, purpose, database: pool.key.database, user: pool.key.user, reason },
        'server connections dropped',
      );
      if (atOnce) pool.destroy(reason);
      else pool.stop();
    }
  }
}

/** True when no statement may reach the node over connections that can write. A planned switchover lets open transactions end. */
function mayNotWrite(node: TopologyNode, topology: Topology, assignment: Assignment): boolean {
  if (assignment.fenced.has(node.name)) return true;
  if (topology.primary !== null) return topology.primary.name !== node.name;
  return assignment.handingOver !== node.name;
}
