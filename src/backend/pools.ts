/**
 * All server connections. Follows the topology: a node that lost its role, is fenced or does not answer loses its connections at
 * once, so that no statement can reach a former primary.
 */
import type { Assignment } from '../cluster/assignment.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { maybeDead } from '../cluster/observation.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import { type Config, nodesOf, type ServerTls } from '../config/config.ts';
import { databaseEntry, type PoolSettings, poolSettings, serverDatabase } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { type ServerSecret, sameSecret } from '../wire/secret.ts';
import { DatabaseCounters } from './database-counters.ts';
import { Pool, type PoolKey, type Purpose } from './pool.ts';
import type { LoginTarget } from './server-login.ts';
import { SharedLimits } from './shared-limits.ts';
import { StallWatch } from './stall-watch.ts';
import { UserPools } from './user-pools.ts';

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
  /** Reads that shared a connection with others, and those of them that were taken away again; since the pool was made. */
  readonly sharedReads: number;
  readonly displacedReads: number;
};

type Parameters = readonly (readonly [string, string])[];

/** Parameters every server connection starts with; the clients' own settings are applied per use. */
const PARAMETERS: Parameters = [['client_encoding', 'UTF8']];
const READ_ONLY: Parameters = [...PARAMETERS, ['options', '-c default_transaction_read_only=on']];

const MAX_PROVED = 100_000;
const MAX_USERS = 10_000;
const TICK_MS = 250;
/** A pool without connections that nobody has used for so long is forgotten. */
const FORGET_MS = 600_000;
/** A replica that has not answered for two probes: what runs there is run elsewhere. One lost probe is no reason to break transactions. */
const SILENT_PROBES = 2;

export class Pools {
  readonly #cluster: Cluster;
  readonly #config: () => Config;
  readonly #log: Log;
  /** node → purpose+database+user → pool */
  readonly #pools = new Map<string, Map<string, Pool>>();
  readonly #users = new Map<string, UserPools>();
  /** Each user of servers with the newest secret. */
  readonly #proved = new Map<string, Identity & { readonly secret: ServerSecret }>();
  readonly #limits = new SharedLimits((node) => this.#pools.get(node)?.values() ?? []);
  readonly #stalls = new StallWatch();
  readonly counters = new DatabaseCounters();
  readonly #hasClients: (database: string, user: string) => boolean;
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;

  /** @param hasClients whether somebody is connected: pools of others are not kept ready */
  constructor(
    cluster: Cluster,
    config: () => Config,
    log: Log,
    hasClients: (database: string, user: string) => boolean = () => true,
  ) {
    this.#hasClients = hasClients;
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
    this.#stalls.stop();
    for (const pool of this.all()) pool.destroy('fairlead stops');
    this.#pools.clear();
  }

  *all(): Iterable<Pool> {
    for (const pools of this.#pools.values()) yield* pools.values();
  }

  /** The pool of a node for an identity; made on first use. `database` as clients name it. */
  of(node: TopologyNode, purpose: Purpose, database: string, client: Identity): Pool {
    const pools = this.#ofNode(node.name);
    const user = this.userOnServers(database, client.user);
    const id = `${purpose}\0${database}\0${user}`;
    let pool = pools.get(id);
    if (pool === undefined) {
      pool = new Pool(
        { node: node.name, purpose, database, user },
        {
          login: () => this.#target(node, database, user, client, purpose === 'ro' ? READ_ONLY : PARAMETERS),
          settings: this.#settingsOf(database, user),
          counts: this.counters.of(database),
          limits: this.#limits,
          stalls: this.#stalls,
        },
      );
      pools.set(id, pool);
    }
    return pool;
  }

  /** The pools of a database and user, for whoever asks with every statement. */
  ofUser(database: string, client: Identity): UserPools {
    const key = `${database}\0${client.user}`;
    let known = this.#users.get(key);
    if (known === undefined) {
      if (this.#users.size >= MAX_USERS) this.#users.clear();
      known = new UserPools(this, this.#config, database, client);
      this.#users.set(key, known);
    }
    return known;
  }

  /** Asked several times for every statement: looked up again only when the configuration has been replaced. */
  #settingsOf(database: string, user: string): () => PoolSettings {
    let of = this.#config();
    let settings = poolSettings(of, database, user);
    return () => {
      const now = this.#config();
      if (now !== of) {
        of = now;
        settings = poolSettings(now, database, user);
      }
      return settings;
    };
  }

  /**
   * What a client has just proved to know: it logs in from now on, also for sessions that began with an older password.
   * @returns one object for all who prove the same: each session keeps its own for as long as it lasts
   */
  admit(identity: Identity): Identity {
    const { user, secret } = identity;
    if (secret === null) return identity;
    const known = this.#proved.get(user);
    if (known !== undefined && sameSecret(known.secret, secret)) return known;
    if (this.#proved.size >= MAX_PROVED) this.#proved.clear();
    const proved = { user, secret };
    this.#proved.set(user, proved);
    return proved;
  }

  /** Databases that connections are open to, as servers name them. */
  databases(): readonly string[] {
    const open = [...this.all()].filter((pool) => pool.totalCount > 0);
    return [...new Set(open.map((pool) => serverDatabase(this.#config(), pool.key.database)))];
  }

  /** Closes what is idle in a database, as servers name it: somebody wants it for himself. */
  vacate(database: string): void {
    for (const pool of this.#in(database)) pool.closeIdle();
  }

  /** A database is gone, or another one of the same name: no connection is used for anything new. */
  databaseGone(database: string): void {
    for (const pool of this.#in(database)) pool.reconnect();
  }

  /** A role is gone, or another one of the same name. */
  roleGone(role: string): void {
    this.#proved.delete(role);
    for (const pool of this.all()) if (pool.key.user === role) pool.reconnect();
  }

  /** The next login of a client as this user makes a new connection. */
  refresh(database: string, client: Identity): void {
    const user = this.userOnServers(database, client.user);
    for (const pool of this.all()) if (pool.key.database === database && pool.key.user === user) pool.reconnect();
  }

  *#in(database: string): Iterable<Pool> {
    for (const pool of this.all()) if (serverDatabase(this.#config(), pool.key.database) === database) yield pool;
  }

  /** The user that servers see: databases may prescribe one. */
  userOnServers(database: string, user: string): string {
    return databaseEntry(this.#config(), database)?.user ?? user;
  }

  /** How to log in to a node for a client, outside of all pools. `timeoutMs` is `pool.connect_timeout`. */
  login(node: TopologyNode, database: string, client: Identity, parameters: Parameters): LoginTarget {
    const user = this.userOnServers(database, client.user);
    const target = this.#target(node, database, user, client, parameters);
    return { ...target, timeoutMs: this.#config().pool.connect_timeout };
  }

  /** What is prescribed now, for it may be another password than the one that a pool began with. */
  #target(
    { name, host, port }: TopologyNode,
    database: string,
    user: string,
    client: Identity,
    parameters: Parameters,
  ): LoginTarget {
    const entry = databaseEntry(this.#config(), database);
    const prescribed = entry?.user === user ? entry.password : null;
    const proved = this.#proved.get(user)?.secret ?? (client.user === user ? client.secret : null);
    return {
      node: name,
      host,
      port,
      tls: this.#tlsOf(name),
      database: serverDatabase(this.#config(), database),
      user,
      secret: prescribed === null ? proved : { kind: 'password', password: prescribed },
      parameters,
      timeoutMs: 0,
    };
  }

  /** Process id that the client was told who holds, or held last, the server connection with this pid; null when it is none of ours. */
  clientPidOf(node: string, serverPid: number): number | null {
    for (const pool of this.#pools.get(node)?.values() ?? []) {
      for (const connection of pool.connections()) if (connection.pid === serverPid) return connection.lastClientPid;
    }
    return null;
  }

  /** One line per pool, for people and metrics. */
  statistics(): PoolStatistics[] {
    return [...this.all()].map((pool) => ({
      ...pool.key,
      size: pool.settings.size,
      active: pool.activeCount,
      idle: pool.idleCount,
      connecting: pool.openingCount,
      waiting: pool.waitingCount,
      maxWaitMs: pool.longestWaitMs(nowMs()),
      sharedReads: pool.shared.joined,
      displacedReads: pool.shared.displaced,
    }));
  }

  /** Exchanges and checkouts a node has before it: what a read would queue behind. Infinity when logins as `identity` fail there. */
  load(node: string, database: string, client: Identity): number {
    let load = 0;
    const user = this.userOnServers(database, client.user);
    const pools = this.#pools.get(node);
    if (pools === undefined) return 0;
    for (const pool of pools.values()) {
      load += pool.activeCount - pool.shared.count + pool.shared.depth + pool.waitingCount;
      const { key } = pool;
      const same = key.database === database && key.user === user && key.purpose === 'ro';
      if (same && pool.brokenUntilMs > nowMs()) return Number.POSITIVE_INFINITY;
    }
    return load;
  }

  #tick(atMs: number): void {
    for (const pools of this.#pools.values()) {
      for (const [id, pool] of pools) {
        pool.tidy(atMs, this.#hasClients(pool.key.database, pool.key.user));
        if (pool.totalCount > 0 || pool.waitingCount > 0 || atMs - pool.usedMs < FORGET_MS) continue;
        pools.delete(id);
        pool.live = false;
        this.#limits.forget(pool);
      }
    }
    const { probe_interval: intervalMs, probe_timeout: timeoutMs } = this.#config().cluster;
    for (const node of this.#cluster.topology.value.nodes) {
      const { failure, failingSinceMs } = this.#cluster.observations.of(node.name);
      if (failure === null || failingSinceMs === null || !maybeDead(failure.kind)) continue;
      if (node.role !== 'replica' && node.role !== 'subscriber') continue;
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
      pool.live = false;
      this.#limits.forget(pool);
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
