import type { Config } from './config.ts';

/** What has to be at least as large as `workers`, with the dotted path: each worker has a part of it. 0 is no limit, null nothing of its own. */
export function sharedOut(config: Config): readonly (readonly [path: string, value: number])[] {
  const { pool, databases, users } = config;
  const all: (readonly [string, number | null])[] = [
    ['pool.size', pool.size],
    ['pool.max_database_connections', pool.max_database_connections],
    ['pool.max_user_connections', pool.max_user_connections],
  ];
  for (const [name, { size, max_connections: most }] of Object.entries(databases)) {
    all.push([`databases.${name}.size`, size], [`databases.${name}.max_connections`, most]);
  }
  for (const [name, { size, max_connections: most }] of Object.entries(users)) {
    all.push([`users.${name}.size`, size], [`users.${name}.max_connections`, most]);
  }
  return all.flatMap(([path, value]) => (value === null || value === 0 ? [] : [[path, value] as const]));
}

/**
 * The configuration of one of several workers: limits of server connections are parts that add up to what was configured.
 * @param index of the worker, from 0
 */
export function shareOf(config: Config, index: number): Config {
  const { workers, pool, databases, users } = config;
  const part = (whole: number) => Math.floor(whole / workers) + (index < whole % workers ? 1 : 0);
  // 0 would be no limit
  const some = (whole: number) => (whole === 0 ? 0 : Math.max(1, part(whole)));
  const own = (whole: number | null, share = some) => (whole === null ? null : share(whole));
  const inAll = <T extends object>(entries: Record<string, T>, share: (entry: T) => T) =>
    Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, share(entry)]));
  return {
    ...config,
    pool: {
      ...pool,
      size: some(pool.size),
      min_size: part(pool.min_size),
      reserve_size: part(pool.reserve_size),
      // a single one for each is worth more than an exact sum: it only says how connections are used
      shared_connections: Math.ceil(pool.shared_connections / workers),
      max_database_connections: some(pool.max_database_connections),
      max_user_connections: some(pool.max_user_connections),
    },
    databases: inAll(databases, (entry) => ({
      ...entry,
      size: own(entry.size),
      min_size: own(entry.min_size, part),
      reserve_size: own(entry.reserve_size, part),
      max_connections: own(entry.max_connections),
    })),
    users: inAll(users, (entry) => ({
      ...entry,
      size: own(entry.size),
      reserve_size: own(entry.reserve_size, part),
      max_connections: own(entry.max_connections),
    })),
  };
}
