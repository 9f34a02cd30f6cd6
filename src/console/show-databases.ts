import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';

/** https://www.pgbouncer.org/usage.html#show-databases; `node` and `role` are ours. */
export const SHOW_DATABASES = show({
  name: 'DATABASES',
  help: 'databases that clients or pools use, by node',
  columns: {
    name: 'text',
    host: 'text',
    port: 'int8',
    database: 'text',
    force_user: 'text',
    pool_size: 'int8',
    min_pool_size: 'int8',
    reserve_pool_size: 'int8',
    server_lifetime: 'int8',
    pool_mode: 'text',
    load_balance_hosts: 'text',
    max_connections: 'int8',
    current_connections: 'int8',
    max_client_connections: 'int8',
    current_client_connections: 'int8',
    paused: 'int8',
    disabled: 'int8',
    node: 'text',
    role: 'text',
  },
  rows(console, { asPgbouncer }) {
    const { pool } = console.config();
    const { nodes, paused, primary } = console.cluster.topology.value;
    const servers = serversByPlace(console);
    const clients = clientsByDatabase(console);
    const places = asPgbouncer ? [primary] : nodes;
    return databaseNames(console).flatMap((name) =>
      places.map((node) => ({
        name,
        host: node?.host ?? '',
        port: node?.port ?? 0,
        database: name,
        force_user: null,
        pool_size: pool.size,
        min_pool_size: 0,
        reserve_pool_size: 0,
        server_lifetime: pool.server_lifetime / 1000,
        pool_mode: pool.mode,
        load_balance_hosts: null,
        max_connections: 0,
        current_connections: nodes
          .filter((n) => asPgbouncer || n === node)
          .reduce((sum, n) => sum + (servers.get(`${n.name} ${name}`) ?? 0), 0),
        max_client_connections: 0,
        current_client_connections: clients.get(name) ?? 0,
        paused: paused ? 1 : 0,
        disabled: 0,
        node: asPgbouncer ? null : (node?.name ?? null),
        role: asPgbouncer ? null : (node?.role ?? null),
      })),
    );
  },
});

/** Databases in use, in order. */
export function databaseNames({ pools, sessions, config }: ConsoleDependencies): string[] {
  const names = new Set([config().cluster.database]);
  for (const pool of pools.all()) names.add(pool.key.database);
  for (const session of sessions.all()) names.add(session.client.database);
  return [...names].sort();
}

function serversByPlace({ pools }: ConsoleDependencies): Map<string, number> {
  const counts = new Map<string, number>();
  for (const pool of pools.all()) {
    const id = `${pool.key.node} ${pool.key.database}`;
    counts.set(id, (counts.get(id) ?? 0) + pool.activeCount + pool.idleCount);
  }
  return counts;
}

function clientsByDatabase({ sessions }: ConsoleDependencies): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { client } of sessions.all()) counts.set(client.database, (counts.get(client.database) ?? 0) + 1);
  return counts;
}
