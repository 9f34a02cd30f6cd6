/** Composition root: makes every part from the configuration and draws every arrow between folders. */
import { readFileSync } from 'node:fs';
import { ApiServer } from './api/api-server.ts';
import { EventJournal } from './api/event-journal.ts';
import { OperatorControls } from './api/operator-controls.ts';
import { AnyNode } from './backend/any-node.ts';
import { AuthQuery } from './backend/auth-query.ts';
import { Catalogs } from './backend/catalogs.ts';
import { type ControlTarget, controlTarget } from './backend/control-connection.ts';
import { DatabaseWatch } from './backend/database-watch.ts';
import { LoginFactsReader } from './backend/login-facts.ts';
import { Notifications } from './backend/notifications.ts';
import { Pools } from './backend/pools.ts';
import { PreparedStatements } from './backend/prepared-statement.ts';
import { Cluster } from './cluster/cluster.ts';
import { isPaused } from './cluster/operator.ts';
import { type Config, nodesOf } from './config/config.ts';
import { afterReload, type Change, difference } from './config/difference.ts';
import { pgbouncerKey } from './config/pgbouncer-keys.ts';
import { databaseEntry, sameOnServers, serverDatabase } from './config/pool-settings.ts';
import { withKey } from './config/set-key.ts';
import type { Address } from './config/units.ts';
import { ConsoleSession } from './console/console-session.ts';
import { Consoles } from './console/consoles.ts';
import { Deadlines } from './core/deadlines.ts';
import { FairleadError, messageOf } from './core/errors.ts';
import type { Log } from './core/log.ts';
import { Controller } from './failover/controller.ts';
import { Access } from './frontend/access.ts';
import { Credentials } from './frontend/credentials.ts';
import { HoldRoom } from './frontend/hold-room.ts';
import { Lifecycle } from './frontend/lifecycle.ts';
import { Listener } from './frontend/listener.ts';
import type { Services } from './frontend/services.ts';
import { Sessions, type Where } from './frontend/sessions.ts';
import { Shutdown, type ShutdownMode } from './frontend/shutdown.ts';
import { Statistics } from './frontend/statistics.ts';
import { Traffic } from './frontend/traffic.ts';
import { Monitor } from './monitor/monitor.ts';
import { Replication } from './replication/replication.ts';
import { Classifier } from './sql/classifier.ts';
import { LagKeeper } from './store/lag-keeper.ts';
import { migrate } from './store/migrate.ts';
import { Store } from './store/store.ts';
import { ClientTls } from './transport/client-tls.ts';
import { tlsOptions } from './transport/server-tls.ts';

/** Statement shapes whose verdict is kept. */
const CLASSIFIER_ENTRIES = 20_000;

/** A running Fairlead. */
export type App = {
  readonly listen: Address;
  /** The read-only port; null when there is none. */
  readonly listenReadOnly: Address | null;
  readonly http: Address;
  readonly cluster: Cluster;
  /**
   * Reads the configuration again. @returns what has changed, also what takes effect only after a restart.
   * @throws FairleadError bad_config; then nothing was applied
   */
  reload(): Promise<readonly Change[]>;
  /** Resolves when nothing of it runs any more. A later call may hasten an earlier one. */
  shutDown(mode: ShutdownMode): Promise<void>;
  /** Resolves when it has come to its end, whoever asked for that. */
  readonly done: Promise<void>;
  /** Clients are ended, server connections closed; resolves when nothing of it runs any more. */
  stop(): Promise<void>;
};

/**
 * Starts everything. `readConfig` reads the configuration anew for a reload.
 * Resolves when both ports are bound; a primary may not be known by then.
 * @throws FairleadError port_taken, bad_config
 */
export async function startApp(config: Config, log: Log, readConfig?: () => Config): Promise<App> {
  let current = config;
  await Classifier.load();
  const nodes = nodesOf(config);
  // files that cannot be read shall be told now, not at the first connection
  for (const { host, tls } of nodes) tlsOptions(host, tls);
  const cluster = new Cluster(nodes, config.routing.max_lag);
  /** @param client a database as clients name it; left out: the one that Fairlead's own tables live in */
  const target = (name: string, client?: string): ControlTarget => {
    const node = nodes.find((n) => n.name === name);
    if (node === undefined) throw new RangeError(`no node ${name}`);
    const database = client === undefined ? config.cluster.database : serverDatabase(current, client);
    return { ...controlTarget(config, node), database };
  };

  const monitor = new Monitor(cluster, { config, log, target: (node) => target(node.name) });
  const replication = new Replication(cluster, {
    config,
    log,
    target: (node) => target(node.name),
    // the stream is that of one database
    schemaChanged: () => catalogs.changedWhere((name) => serverDatabase(current, name) === config.cluster.database),
  });
  const store = new Store(cluster, { config, log });
  const lagKeeper = new LagKeeper(cluster, store, log);
  const sessions = new Sessions();
  // pools of a prescribed user are kept ready for all clients of the database
  const hasClients = (database: string, user: string) =>
    !isPaused(cluster.operator.value, database) &&
    sessions.countOf(database, databaseEntry(current, database)?.user === user ? null : user) > 0;
  const pools = new Pools(cluster, () => current, log, hasClients);
  const holdRoom = new HoldRoom(cluster);
  const notifications = new Notifications(
    cluster,
    pools,
    () => current,
    log,
    () => holdRoom.look(),
  );
  const controller = new Controller(cluster, {
    config,
    log,
    store,
    target: (node) => target(node),
    quiesce: (timeoutMs) => quiesce(pools, sessions, timeoutMs),
  });
  const anyNode = new AnyNode(cluster, target);
  const credentials = new Credentials(() => current, new AuthQuery(anyNode, () => current, log), log);
  credentials.load();
  const access = new Access(() => current);
  access.prepare(config)();
  const clientTls = new ClientTls();
  clientTls.prepare(config.tls)();
  const catalogs = new Catalogs(cluster, target, log);
  const leadsTo = (name: string) => (database: string) => serverDatabase(current, database) === name;
  const databases = new DatabaseWatch(
    anyNode,
    {
      names: () => pools.databases(),
      vacate: (name) => {
        pools.vacate(name);
        notifications.vacate(leadsTo(name));
      },
      gone: (name, replaced) => {
        pools.databaseGone(name);
        catalogs.forget(leadsTo(name));
        const dropped = new FairleadError('database_dropped', `database "${name}" was dropped`);
        if (!replaced) sessions.endAll(({ database }) => leadsTo(name)(database), dropped);
      },
    },
    log,
  );
  const logins = new LoginFactsReader(anyNode, {
    gone: (role, replaced) => {
      pools.roleGone(role);
      if (!replaced) return;
      // who logged in as the old one must not go on as the new one
      const is = ({ database, user }: Where) => user === role && pools.userOnServers(database, user) === role;
      const text = `role "${role}" was dropped, and another one of that name created`;
      sessions.endAll(is, new FairleadError('role_replaced', text));
    },
  });
  const services: Services = {
    cluster,
    pools,
    notifications,
    access,
    clientTls,
    credentials,
    logins,
    databases,
    classifier: new Classifier({ maxEntries: CLASSIFIER_ENTRIES }),
    catalogs,
    statements: new PreparedStatements(),
    deadlines: new Deadlines(),
    sessions,
    holdRoom,
    sequenceReaders: new Set(),
    lifecycle: new Lifecycle(),
    traffic: new Traffic(nodes.map((node) => node.name)),
    log,
    config: () => current,
  };
  const apply = (read: Config): readonly Change[] => {
    const changes = difference(current, read);
    const door = [clientTls.prepare(read.tls), access.prepare(read)];
    credentials.load(read);
    for (const open of door) open();
    const before = current;
    current = afterReload(current, read);
    cluster.setMaxLag(current.routing.max_lag);
    for (const pool of pools.all()) {
      // whoever is logged in under a database's old name or user is not what the next client wants
      if (!sameOnServers(before, current, pool.key.database)) pool.reconnect();
    }
    log.info({ changes: changes.map((change) => change.text) }, 'configuration read again');
    return changes;
  };
  const reload = async (): Promise<readonly Change[]> => {
    if (readConfig === undefined) throw new FairleadError('refused', 'there is no configuration file to read again');
    return apply(readConfig());
  };
  const set = (key: string, value: string) => apply(withKey(current, key, value));
  const operations = new OperatorControls(cluster, controller);
  const events = new EventJournal(store, log);
  const version = versionOf();
  const { traffic } = services;
  const statistics = new Statistics(pools.counters, sessions, () => current.pool.stats_period);
  const consoles = new Consoles();
  const admin = {
    version,
    cluster,
    pools,
    sessions,
    holdRoom,
    traffic,
    replication,
    events,
    operations,
    log,
    config: services.config,
    consoles,
    statistics,
    reload,
    set,
    isSetting: (key: string) => pgbouncerKey(key) !== null,
    shutDown: (mode: ShutdownMode) => void shutdown.begin(mode),
    clients: () => listener.clients,
  };
  const listener: Listener = new Listener(services, sessions, (client) => new ConsoleSession(client, admin).start());
  const api = new ApiServer({
    http: config.http,
    token: config.http_token,
    version,
    cluster,
    traffic,
    operations,
    events,
    lagHistory: store,
    replication,
    pools: { pools: () => pools.statistics() },
    sessions: { sessions: () => sessions.statistics(holdRoom.size) },
    accepting: () => services.lifecycle.state === 'serving',
    reload,
    log,
  });

  const stop = async () => {
    await listener.stop();
    await api.stop();
    await controller.stop();
    await lagKeeper.stop().catch((error) => log.debug({ error: messageOf(error) }, 'lag history not written'));
    events.stop();
    await store.stop();
    await replication.stop();
    await monitor.stop();
    notifications.stop();
    databases.stop();
    catalogs.stop();
    pools.stop();
    anyNode.stop();
    statistics.stop();
    holdRoom.stop();
    services.deadlines.stop();
  };
  const shutdown = new Shutdown({
    lifecycle: services.lifecycle,
    sessions,
    log,
    clients: () => listener.clients - consoles.size,
    timeoutMs: () => current.shutdown_timeout,
    stop,
  });
  try {
    // both ports first: whoever cannot have them shall not touch a cluster
    const listen = await listener.start(config.listen);
    const readOnly = config.listen_read_only;
    const listenReadOnly = readOnly === null ? null : await listener.start(readOnly, true);
    await listener.startUnixSocket(config.unix_socket, listen.port);
    if (listenReadOnly !== null) await listener.startUnixSocket(config.unix_socket, listenReadOnly.port, true);
    const http = await api.start();
    await migrate(config, log).catch((error) =>
      log.warn({ error: messageOf(error) }, 'schema fairlead is not up to date'),
    );
    services.deadlines.start();
    notifications.start();
    holdRoom.start();
    pools.start();
    databases.start();
    statistics.start();
    events.start();
    store.start();
    controller.start();
    replication.start();
    lagKeeper.start();
    monitor.start();
    const shutDown = (mode: ShutdownMode) => shutdown.begin(mode);
    const { done } = shutdown;
    return { listen, listenReadOnly, http, cluster, reload, shutDown, done, stop: () => shutDown('now') };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Until no transaction is open on any server connection that can write. New ones are held by then. */
async function quiesce(pools: Pools, sessions: Sessions, timeoutMs: number): Promise<void> {
  const writable = new Set([...pools.all()].filter((pool) => pool.key.purpose === 'rw').map((pool) => pool.node));
  await Promise.all([...writable].map((node) => sessions.quiesce(node, timeoutMs)));
}

function versionOf(): string {
  // dist/src/app.js in a checkout and in the package alike
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
