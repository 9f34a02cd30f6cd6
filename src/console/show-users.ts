import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';

/** https://www.pgbouncer.org/usage.html#show-users */
export const SHOW_USERS = show({
  name: 'USERS',
  help: 'users that are configured or connected',
  columns: {
    name: 'text',
    pool_size: 'int8',
    reserve_pool_size: 'int8',
    pool_mode: 'text',
    max_user_connections: 'int8',
    current_connections: 'int8',
    max_user_client_connections: 'int8',
    current_client_connections: 'int8',
  },
  rows(console) {
    const servers = new Map<string, number>();
    for (const { key, activeCount, idleCount } of console.pools.all()) {
      servers.set(key.user, (servers.get(key.user) ?? 0) + activeCount + idleCount);
    }
    const clients = new Map<string, number>();
    for (const { client } of console.sessions.all()) {
      clients.set(client.identity.user, (clients.get(client.identity.user) ?? 0) + 1);
    }
    const { pool } = console.config();
    return userNames(console).map((name) => ({
      name,
      pool_size: pool.size,
      reserve_pool_size: 0,
      pool_mode: pool.mode,
      max_user_connections: 0,
      current_connections: servers.get(name) ?? 0,
      max_user_client_connections: 0,
      current_client_connections: clients.get(name) ?? 0,
    }));
  },
});

/** Users that are configured or connected, in order. */
export function userNames({ pools, sessions, config }: ConsoleDependencies): string[] {
  const { auth, cluster } = config();
  const names = new Set([cluster.user, ...Object.keys(auth.users)]);
  for (const { key } of pools.all()) names.add(key.user);
  for (const { client } of sessions.all()) names.add(client.identity.user);
  return [...names].sort();
}
