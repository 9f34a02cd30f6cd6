import { databaseEntry, poolSettings, serverDatabase } from '../config/pool-settings.ts';
import { ClientCounts } from '../frontend/client-counts.ts';
import type { PoolReport } from '../plane/plane.ts';
import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';

/** https://www.pgbouncer.org/usage.html#show-databases; `node` and `role` are ours. */
export const SHOW_DATABASES = show({
  name: 'DATABASES',
  help: 'databases that are configured or in use, by node',
  columns: {
    name: 'text',
    host: 'text',
    port: 'int4',
    database: 'text',
    force_user: 'text',
    pool_size: 'int4',
    min_pool_size: 'int4',
    reserve_pool_size: 'int4',
    server_lifetime: 'int4',
    pool_mode: 'text',
    load_balance_hosts: 'text',
    max_connections: 'int4',
    current_connections: 'int4',
    max_client_connections: 'int4',
    current_client_connections: 'int4',
    paused: 'int4',
    disabled: 'int4',
    node: 'text',
    role: 'text',
  },
  async rows(console, { asPgbouncer }) {
    const config = console.config();
    const clients = ClientCounts.of(console.plane.overview.places);
    const { nodes, paused, primary } = console.cluster.topology.value;
    const { pausedDatabases, disabledDatabases } = console.cluster.operator.value;
    const servers = serversByPlace(await console.plane.pools());
    const places = asPgbouncer ? [primary] : nodes;
    return databaseNames(console).flatMap((name) => {
      const own = databaseEntry(config, name);
      const settings = poolSettings(config, name, own?.user ?? '');
      return places.map((node) => ({
        name,
        host: node?.host ?? null,
        port: node?.port ?? 0,
        database: serverDatabase(config, name),
        force_user: own?.user ?? null,
        pool_size: settings.size,
        min_pool_size: settings.minSize,
        reserve_pool_size: settings.reserveSize,
        server_lifetime: settings.lifetimeMs / 1000,
        pool_mode: own?.pool_mode ?? null,
        load_balance_hosts: null,
        max_connections: settings.maxDatabaseConnections,
        current_connections: nodes
          .filter((n) => asPgbouncer || n === node)
          .reduce((sum, n) => sum + (servers.get(`${n.name} ${name}`) ?? 0), 0),
        max_client_connections: own?.max_clients ?? config.pool.max_database_clients,
        current_client_connections: clients.of(name, null),
        paused: paused || pausedDatabases.has(name) ? 1 : 0,
        disabled: disabledDatabases.has(name) ? 1 : 0,
        node: asPgbouncer ? null : (node?.name ?? null),
        role: asPgbouncer ? null : (node?.role ?? null),
      }));
    });
  },
});

/** Databases that are configured, in use or dealt with by an operator, in order. */
export function databaseNames({ plane, config, cluster }: ConsoleDependencies): string[] {
  const { pausedDatabases, disabledDatabases } = cluster.operator.value;
  const names = new Set([config().cluster.database, ...Object.keys(config().databases)]);
  for (const name of [...pausedDatabases, ...disabledDatabases]) names.add(name);
  for (const { database } of [...plane.overview.pools, ...plane.overview.places]) names.add(database);
  names.delete('*');
  // physical replication
  names.delete('');
  return [...names].sort();
}

function serversByPlace(pools: readonly PoolReport[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { node, database, total } of pools) {
    const id = `${node} ${database}`;
    counts.set(id, (counts.get(id) ?? 0) + total);
  }
  return counts;
}
