import { poolSettings, userEntry } from '../config/pool-settings.ts';
import { ClientCounts } from '../frontend/client-counts.ts';
import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';

/** https://www.pgbouncer.org/usage.html#show-users */
export const SHOW_USERS = show({
  name: 'USERS',
  help: 'users that are configured or connected, with what they have of their own',
  columns: {
    name: 'text',
    pool_size: 'text',
    reserve_pool_size: 'text',
    pool_mode: 'text',
    max_user_connections: 'int4',
    current_connections: 'int4',
    max_user_client_connections: 'int4',
    current_client_connections: 'int4',
  },
  async rows(console) {
    const servers = new Map<string, number>();
    for (const { user, total } of await console.plane.pools()) servers.set(user, (servers.get(user) ?? 0) + total);
    const config = console.config();
    const clients = ClientCounts.of(console.plane.overview.places);
    return userNames(console).map((name) => {
      const own = userEntry(config, name);
      return {
        name,
        pool_size: own?.size ?? null,
        reserve_pool_size: own?.reserve_size ?? null,
        pool_mode: own?.pool_mode ?? null,
        max_user_connections: poolSettings(config, '', name).maxUserConnections,
        current_connections: servers.get(name) ?? 0,
        max_user_client_connections: own?.max_clients ?? config.pool.max_user_clients,
        current_client_connections: clients.of(null, name),
      };
    });
  },
});

/** Users that are configured or connected, in order. */
export function userNames({ plane, config }: ConsoleDependencies): string[] {
  const { auth, cluster, users } = config();
  const names = new Set([cluster.user, ...Object.keys(auth.users), ...Object.keys(users)]);
  for (const { user } of [...plane.overview.pools, ...plane.overview.places]) names.add(user);
  return [...names].sort();
}
