/** Everything that serves clients in one process: made from the model and the configuration, ended by its own way to the end. */
import { memoryUsage } from 'node:process';
import { AnyNode } from '../backend/any-node.ts';
import { AuthQuery } from '../backend/auth-query.ts';
import { Catalogs } from '../backend/catalogs.ts';
import { type ControlTarget, controlTarget } from '../backend/control-connection.ts';
import { DatabaseWatch } from '../backend/database-watch.ts';
import { LoginFactsReader } from '../backend/login-facts.ts';
import { Notifications } from '../backend/notifications.ts';
import type { Pool } from '../backend/pool.ts';
import { Pools } from '../backend/pools.ts';
import { PreparedStatements } from '../backend/prepared-statement.ts';
import type { AcknowledgedTables } from '../cluster/acknowledged-writes.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { isPaused } from '../cluster/operator.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { databaseEntry, sameOnServers, serverDatabase } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import { Deadlines } from '../core/deadlines.ts';
import { FairleadError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Access } from '../frontend/access.ts';
import { Credentials } from '../frontend/credentials.ts';
import { openAll } from '../frontend/doors.ts';
import type { Admitted } from '../frontend/handshake.ts';
import { HoldRoom } from '../frontend/hold-room.ts';
import { Lifecycle } from '../frontend/lifecycle.ts';
import { Listener } from '../frontend/listener.ts';
import type { Neighbours } from '../frontend/neighbours.ts';
import type { Services } from '../frontend/services.ts';
import { Sessions, type Where } from '../frontend/sessions.ts';
import { Shutdown, type ShutdownMode } from '../frontend/shutdown.ts';
import { databaseCounts } from '../frontend/statistics.ts';
import { Traffic } from '../frontend/traffic.ts';
import { CausalityKeys } from '../routing/causality-keys.ts';
import { Patience } from '../routing/patience.ts';
import { Classifier } from '../sql/classifier.ts';
import { ClientTls } from '../transport/client-tls.ts';
import { clientReport, poolReport, serverReport } from './describe.ts';
import type { Bound, ClientReport, Order, Overview, Plane, PoolReport, ProcessReport, ServerReport } from './plane.ts';

/** Statement shapes whose verdict is kept. */
const CLASSIFIER_ENTRIES = 20_000;

/** Operators at the admin console of this process. */
export type Operators = {
  readonly size: number;
  reports(): readonly ClientReport[];
  /** @returns false when it is none of them */
  close(pid: number): boolean;
};

export type DataPlaneDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  readonly log: Log;
  /** Of salts for unknown users, where there is no private key; left out: one of its own. */
  readonly seed?: Buffer;
  readonly operators: Operators;
  /** Who else serves clients of the same Fairlead. */
  readonly neighbours: Neighbours;
  openConsole(client: Admitted, plane: DataPlane): void;
};

export class DataPlane implements Plane {
  readonly listener: Listener;
  readonly sessions: Sessions;
  readonly services: Services;
  readonly #cluster: Cluster;
  readonly #operators: Operators;
  readonly #pools: Pools;
  readonly #anyNode: AnyNode;
  readonly #shutdown: Shutdown;
  readonly #startedMs = nowMs();
  #config: Config;

  /** `Classifier.load` has to be done. @throws FairleadError bad_config */
  constructor({ cluster, config, log, seed, operators, neighbours, openConsole }: DataPlaneDeps) {
    this.#cluster = cluster;
    this.#operators = operators;
    this.#config = config;
    const current = () => this.#config;
    const sessions = new Sessions(neighbours);
    // pools of a prescribed user are kept ready for all clients of the database
    const hasClients = (database: string, user: string) =>
      !isPaused(cluster.operator.value, database) &&
      sessions.countOf(database, databaseEntry(current(), database)?.user === user ? null : user) > 0;
    const pools = new Pools(cluster, current, log, hasClients);
    const holdRoom = new HoldRoom(cluster);
    const target = (node: string, database?: string) => this.#target(node, database);
    const anyNode = new AnyNode(cluster, target);
    const credentials = new Credentials(current, new AuthQuery(anyNode, current, log), log);
    credentials.load();
    const access = new Access(current);
    access.prepare(config)();
    const clientTls = new ClientTls(seed);
    clientTls.prepare(config.tls)();
    this.sessions = sessions;
    this.#pools = pools;
    this.#anyNode = anyNode;
    this.services = {
      cluster,
      pools,
      notifications: new Notifications(cluster, pools, current, log, () => holdRoom.look()),
      access,
      clientTls,
      credentials,
      logins: new LoginFactsReader(anyNode, { gone: (role, replaced) => this.#roleGone(role, replaced) }),
      databases: new DatabaseWatch(
        anyNode,
        {
          names: () => pools.databases(),
          vacate: (name) => this.#vacate(name),
          gone: (name, replaced) => this.#databaseGone(name, replaced),
        },
        log,
      ),
      classifier: new Classifier({ maxEntries: CLASSIFIER_ENTRIES }),
      catalogs: new Catalogs(cluster, target, (database) => this.#isStreamed(database), log),
      statements: new PreparedStatements(),
      deadlines: new Deadlines(),
      sessions,
      holdRoom,
      sequenceReaders: new Set(),
      elsewhereIsolated: new Set(),
      lifecycle: new Lifecycle(),
      traffic: new Traffic(cluster.nodes.map((node) => node.name)),
      neighbours,
      causalityKeys: new CausalityKeys(neighbours.count > 1),
      patience: new Patience(),
      log,
      config: current,
    };
    this.listener = new Listener(this.services, sessions, (client) => openConsole(client, this));
    this.#shutdown = new Shutdown({
      lifecycle: this.services.lifecycle,
      sessions,
      log,
      clients: () => this.listener.clients - operators.size,
      timeoutMs: () => current().shutdown_timeout,
      stop: () => this.#stop(),
    });
  }

  // --- what it tells -------------------------------------------------------------------------------------------------

  /** Counted when it is looked at: not everybody wants everything. */
  get overview(): Overview {
    const { sessions, listener } = this;
    const { traffic, holdRoom } = this.services;
    const pools = this.#pools;
    const operators = this.#operators.size;
    return {
      get sessions() {
        return sessions.statistics(holdRoom.size);
      },
      get clients() {
        return listener.clients;
      },
      operators,
      get places() {
        return sessions.places();
      },
      get pools() {
        return pools.statistics();
      },
      get traffic() {
        return traffic.counts();
      },
      get counts() {
        return [...databaseCounts(pools.counters, sessions)];
      },
    };
  }

  async refresh(): Promise<void> {}

  async clients(): Promise<readonly ClientReport[]> {
    return [...[...this.sessions.all()].map(clientReport), ...this.#operators.reports()];
  }

  async servers(): Promise<readonly ServerReport[]> {
    const atMs = nowMs();
    return [...this.#pools.all()].flatMap((pool) =>
      [...pool.connections()].map((one) => serverReport(pool, one, atMs)),
    );
  }

  async pools(): Promise<readonly PoolReport[]> {
    const atMs = nowMs();
    return [...this.#pools.all()].map((pool) => poolReport(pool, atMs));
  }

  async processes(): Promise<readonly ProcessReport[]> {
    return [this.process(1)];
  }

  /** @param worker its number, from 1 */
  process(worker: number): ProcessReport {
    return {
      worker,
      pid: process.pid,
      clients: this.listener.clients,
      cpu: process.cpuUsage(),
      memory: memoryUsage(),
      startedMs: this.#startedMs,
    };
  }

  async acknowledgedAfter(atMs: number): Promise<readonly AcknowledgedTables[]> {
    return this.#cluster.acknowledged.after(atMs);
  }

  // --- what it is asked to do ----------------------------------------------------------------------------------------

  async order(order: Order): Promise<void> {
    switch (order.kind) {
      case 'end clients': {
        const error = new FairleadError('shutting_down', order.reason);
        return this.sessions.endAll(({ database }) => order.database === null || database === order.database, error);
      }
      case 'end client':
        this.sessions.find(order.pid)?.terminate(new FairleadError('shutting_down', order.reason));
        return void this.#operators.close(order.pid);
      case 'reconnect':
        for (const pool of this.#poolsOf(order.database)) pool.reconnect();
        return;
      case 'close idle':
        for (const pool of this.#poolsOf(order.database)) pool.closeIdle();
        return;
      case 'cut':
        for (const pool of this.#poolsOf(order.database)) pool.cut(order.reason);
        return;
      default:
        order satisfies never;
    }
  }

  listen(): Promise<Bound> {
    return openAll(this.listener.doors, this.#config);
  }

  start(): void {
    const { deadlines, notifications, holdRoom, databases } = this.services;
    deadlines.start();
    notifications.start();
    holdRoom.start();
    this.#pools.start();
    databases.start();
  }

  prepare(read: Config): (inForce: Config) => void {
    const { clientTls, access, credentials } = this.services;
    const door = [clientTls.prepare(read.tls), access.prepare(read)];
    credentials.load(read);
    return (inForce) => {
      for (const open of door) open();
      const before = this.#config;
      this.#config = inForce;
      for (const pool of this.#pools.all()) {
        // whoever is logged in under a database's old name or user is not what the next client wants
        if (!sameOnServers(before, inForce, pool.key.database)) pool.reconnect();
      }
    };
  }

  add(nodes: readonly NodeConfig[]): void {
    // before anything is sent to them
    this.services.traffic.widen([...this.#cluster.nodes, ...nodes].map((node) => node.name));
    this.#cluster.add(nodes);
  }

  schemaChanged(): void {
    this.services.catalogs.changedWhere((database) => this.#isStreamed(database));
  }

  /** What listens to the assignment has acted on it when it was set. */
  async settled(): Promise<void> {}

  async quiesce(timeoutMs: number): Promise<void> {
    const writable = [...this.#pools.all()].filter((pool) => pool.key.purpose === 'rw').map((pool) => pool.node);
    await Promise.all([...new Set(writable)].map((node) => this.sessions.quiesce(node, timeoutMs)));
  }

  get done(): Promise<void> {
    return this.#shutdown.done;
  }

  shutDown(mode: ShutdownMode): Promise<void> {
    return this.#shutdown.begin(mode);
  }

  async #stop(): Promise<void> {
    await this.listener.stop();
    const { notifications, databases, catalogs, holdRoom, deadlines } = this.services;
    notifications.stop();
    databases.stop();
    catalogs.stop();
    this.#pools.stop();
    this.#anyNode.stop();
    holdRoom.stop();
    deadlines.stop();
  }

  // --- what is gone on the servers -----------------------------------------------------------------------------------

  /** True for databases, as clients name them, that lead to this one on the servers. */
  #leadsTo(name: string): (database: string) => boolean {
    return (database) => serverDatabase(this.#config, database) === name;
  }

  #isStreamed(database: string): boolean {
    return serverDatabase(this.#config, database) === this.#config.cluster.database;
  }

  #vacate(name: string): void {
    this.#pools.vacate(name);
    this.services.notifications.vacate(this.#leadsTo(name));
  }

  #databaseGone(name: string, replaced: boolean): void {
    this.#pools.databaseGone(name);
    this.services.catalogs.forget(this.#leadsTo(name));
    const dropped = new FairleadError('database_dropped', `database "${name}" was dropped`);
    if (!replaced) this.sessions.endAll(({ database }) => this.#leadsTo(name)(database), dropped);
  }

  #roleGone(role: string, replaced: boolean): void {
    this.#pools.roleGone(role);
    if (!replaced) return;
    // who logged in as the old one must not go on as the new one
    const is = ({ database, user }: Where) => user === role && this.#pools.userOnServers(database, user) === role;
    const text = `role "${role}" was dropped, and another one of that name created`;
    this.sessions.endAll(is, new FairleadError('role_replaced', text));
  }

  /** @param database as clients name it; left out: the one that Fairlead's own tables live in */
  #target(name: string, database?: string): ControlTarget {
    const node = this.#cluster.nodes.find((n) => n.name === name);
    if (node === undefined) throw new RangeError(`no node ${name}`);
    const target = controlTarget(this.#config, node);
    return database === undefined ? target : { ...target, database: serverDatabase(this.#config, database) };
  }

  #poolsOf(database: string | null): Pool[] {
    return [...this.#pools.all()].filter((pool) => database === null || pool.key.database === database);
  }
}
