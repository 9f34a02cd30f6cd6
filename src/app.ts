/** Composition root: makes every part from the configuration and draws every arrow between folders. */
import { readFileSync } from 'node:fs';
import { Repairs } from './agent/repairs.ts';
import { ApiServer } from './api/api-server.ts';
import { EventJournal } from './api/event-journal.ts';
import { OperatorControls } from './api/operator-controls.ts';
import { type ControlTarget, controlTarget } from './backend/control-connection.ts';
import { Cluster } from './cluster/cluster.ts';
import { agentsOf, type Config, nodesOf } from './config/config.ts';
import { afterReload, type Change, difference, withoutNodes } from './config/difference.ts';
import { pgbouncerKey } from './config/pgbouncer-keys.ts';
import { withKey } from './config/set-key.ts';
import type { Address } from './config/units.ts';
import { ConsoleSession } from './console/console-session.ts';
import { Consoles } from './console/consoles.ts';
import type { ConsoleDependencies } from './console/dependencies.ts';
import { type RunCommand, runCommand } from './console/run-command.ts';
import { wallMs } from './core/clock.ts';
import { FairleadError, messageOf } from './core/errors.ts';
import type { Log } from './core/log.ts';
import { Controller } from './failover/controller.ts';
import { Hooks } from './failover/hooks.ts';
import { Schedule } from './failover/schedule.ts';
import { SlotWatch } from './failover/slot-watch.ts';
import { ALONE } from './frontend/neighbours.ts';
import type { ShutdownMode } from './frontend/shutdown.ts';
import { Statistics } from './frontend/statistics.ts';
import { trafficSnapshot } from './frontend/traffic-snapshot.ts';
import { Monitor } from './monitor/monitor.ts';
import { Newcomers } from './monitor/newcomers.ts';
import { DataPlane } from './plane/data-plane.ts';
import type { Plane } from './plane/plane.ts';
import { Replication } from './replication/replication.ts';
import { Classifier } from './sql/classifier.ts';
import { AuditKeeper } from './store/audit-keeper.ts';
import { LagKeeper } from './store/lag-keeper.ts';
import { migrate } from './store/migrate.ts';
import { Store } from './store/store.ts';
import { tlsOptions } from './transport/server-tls.ts';
import { Crew } from './workers/crew.ts';

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
 * Resolves when all ports are bound; a primary may not be known by then.
 * @throws FairleadError port_taken, bad_config
 */
export async function startApp(config: Config, log: Log, readConfig?: () => Config): Promise<App> {
  let current = config;
  const nodes = nodesOf(config);
  // files that cannot be read shall be told now, not at the first connection
  for (const { host, tls } of nodes) tlsOptions(host, tls);
  const cluster = new Cluster(nodes, config.routing.max_lag);
  const target = (name: string): ControlTarget => {
    const node = cluster.nodes.find((n) => n.name === name);
    if (node === undefined) throw new RangeError(`no node ${name}`);
    return controlTarget(config, node);
  };
  const runConsole: RunCommand = (resolved, operator) => runCommand(resolved, admin, operator);
  const names = () => cluster.nodes.map((node) => node.name);
  const plane = await servingClients(cluster, config, log, runConsole);
  const monitor = new Monitor(cluster, { config, log, target: (node) => target(node.name) });
  const replication = new Replication(cluster, {
    config,
    log,
    target: (node) => target(node.name),
    schemaChanged: () => plane.schemaChanged(),
  });
  const store = new Store(cluster, { config, log });
  const lagKeeper = new LagKeeper(cluster, store, log);
  const auditKeeper = new AuditKeeper(cluster, store, log);
  const demote = (node: string, primary: string) => repairs.demote(node, primary);
  const hooks = new Hooks(config.hooks, cluster, log);
  const controller = new Controller(cluster, {
    ...{ config, log, store, target, clients: plane, demote, hooks },
    agents: () => new Set(agentsOf(current).keys()),
  });
  const atRest = () => (controller.state.value.phase === 'steady' ? controller.state.value.primary : null);
  const happened = (kind: string, message: string, detail: { readonly node: string | null }) => {
    log.info({ event: kind, ...detail }, message);
    void store.recordEvent({ kind, message, detail, node: detail.node, atMs: wallMs() });
  };
  const repairs = new Repairs({ config: () => current, log, target, primary: atRest, event: happened });
  const slots = new SlotWatch({
    ...{ config, log, target, primary: atRest, event: happened },
    names,
  });
  const newcomers = new Newcomers(cluster, {
    ...{ log, intervalMs: config.cluster.probe_interval, timeoutMs: config.cluster.probe_timeout },
    target: (node) => controlTarget(config, node),
    join: (node) => {
      plane.add([node]);
      monitor.add([node]);
      happened('node-added', `${node.name} (${node.host}:${node.port}) has joined`, { node: node.name });
    },
    waits: ({ name, host, port }, why) =>
      happened('node-waits', `${name} (${host}:${port}) is not taken in yet: ${why}`, { node: name }),
  });
  const apply = (read: Config): readonly Change[] => {
    const running = withoutNodes(current, newcomers.names);
    const changes = difference(running, read);
    const next = afterReload(running, read);
    const others = nodesOf(next).filter(({ name }) => !names().includes(name));
    for (const { host, tls } of others) tlsOptions(host, tls);
    const enforce = plane.prepare(read);
    current = next;
    enforce(current);
    cluster.setMaxLag(current.routing.max_lag);
    newcomers.expect(others);
    log.info({ changes: changes.map((change) => change.text) }, 'configuration read again');
    return changes;
  };
  const reload = async (): Promise<readonly Change[]> => {
    if (readConfig === undefined) throw new FairleadError('refused', 'there is no configuration file to read again');
    return apply(readConfig());
  };
  const schedule = new Schedule(cluster, {
    ...{ config, log, store, event: happened },
    switchover: (wish) => controller.switchover(wish),
  });
  const operations = new OperatorControls(cluster, controller, schedule);
  const events = new EventJournal(store, log);
  events.subscribe((event) => hooks.notify(event));
  const version = versionOf();
  const traffic = {
    snapshot: () => trafficSnapshot(plane.overview.traffic, names()),
    get histograms() {
      const { read, write } = plane.overview.traffic;
      return { read, write };
    },
  };
  const statistics = new Statistics(
    () => plane.overview.counts,
    () => current.pool.stats_period,
  );
  let accepting = true;
  const shutDown = (mode: ShutdownMode) => {
    accepting = false;
    void plane.shutDown(mode);
    return done;
  };
  const admin: ConsoleDependencies = {
    version,
    cluster,
    plane,
    statistics,
    traffic,
    replication,
    events,
    operations,
    log,
    config: () => current,
    reload,
    set: (key, value) => apply(withKey(current, key, value)),
    isSetting: (key) => pgbouncerKey(key) !== null,
    shutDown: (mode) => void shutDown(mode),
  };
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
    pools: { pools: () => plane.overview.pools },
    sessions: { sessions: () => plane.overview.sessions },
    repairs,
    workers: () => plane.processes(),
    refresh: () => plane.refresh(),
    accepting: () => accepting,
    reload,
    log,
  });
  const stopControl = async () => {
    await api.stop();
    newcomers.stop();
    await repairs.stop();
    await slots.stop();
    await schedule.stop();
    await controller.stop();
    auditKeeper.stop();
    await lagKeeper.stop().catch((error) => log.debug({ error: messageOf(error) }, 'lag history not written'));
    events.stop();
    await store.stop();
    await replication.stop();
    await monitor.stop();
    statistics.stop();
  };
  const done = plane.done.then(stopControl);
  // whoever began it may not care how it ended
  done.catch(() => {});
  const stop = () => shutDown('now');
  try {
    // all ports first: whoever cannot have them shall not touch a cluster
    const { listen, listenReadOnly } = await plane.listen();
    const http = await api.start();
    await migrate(config, log).catch((error) =>
      log.warn({ error: messageOf(error) }, 'schema fairlead is not up to date'),
    );
    plane.start();
    statistics.start();
    events.start();
    store.start();
    controller.start();
    schedule.start();
    slots.start();
    replication.start();
    lagKeeper.start();
    auditKeeper.start();
    monitor.start();
    return { listen, listenReadOnly, http, cluster, reload, shutDown, done, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** In this process, or in several others. */
async function servingClients(cluster: Cluster, config: Config, log: Log, run: RunCommand): Promise<Plane> {
  if (config.workers > 1) return new Crew({ cluster, config, log, run });
  await Classifier.load();
  const consoles = new Consoles();
  return new DataPlane({
    cluster,
    config,
    log,
    operators: consoles,
    neighbours: { ...ALONE, audited: (read) => cluster.audit.record(read) },
    openConsole: (client, plane) => {
      const { sessions, services } = plane;
      new ConsoleSession(client, { consoles, sessions, log, config: services.config, run }).start();
    },
  });
}

function versionOf(): string {
  // dist/src/app.js in a checkout and in the package alike
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
