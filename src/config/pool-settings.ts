import type { Config } from './config.ts';

export type PoolMode = Config['pool']['mode'];

/** What holds for the sessions and server connections of one database and user. Times in milliseconds; 0 is no limit, never. */
export type PoolSettings = {
  readonly mode: PoolMode;
  readonly size: number;
  readonly minSize: number;
  readonly reserveSize: number;
  /** How many of its server connections single reads of several sessions may share at once; 0: none. */
  readonly sharedConnections: number;
  readonly reserveTimeoutMs: number;
  readonly maxDatabaseConnections: number;
  readonly maxUserConnections: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly lifetimeMs: number;
  readonly checkDelayMs: number;
  readonly resetQuery: string;
  readonly queryTimeoutMs: number;
  readonly idleTransactionTimeoutMs: number;
  readonly clientIdleTimeoutMs: number;
};

type DatabaseEntry = Config['databases'][string];
type UserEntry = Config['users'][string];

const KNOWN = new WeakMap<Config, Map<string, PoolSettings>>();
/** Names come from clients: what is remembered of them is bounded. */
const MAX_KNOWN = 10_000;

/** What a user has of its own stands above what the database has, that above `pool`: the order of PgBouncer. */
export function poolSettings(config: Config, database: string, user: string): PoolSettings {
  let ofConfig = KNOWN.get(config);
  if (ofConfig === undefined) {
    ofConfig = new Map();
    KNOWN.set(config, ofConfig);
  }
  const key = `${database}\0${user}`;
  let settings = ofConfig.get(key);
  if (settings === undefined) {
    settings = Object.freeze(resolve(config, databaseEntry(config, database), userEntry(config, user)));
    if (ofConfig.size >= MAX_KNOWN) ofConfig.clear();
    ofConfig.set(key, settings);
  }
  return settings;
}

/** The entry of a database, that of `*` where it has none; null where there is neither. */
export function databaseEntry({ databases }: Config, name: string): DatabaseEntry | null {
  return own(databases, name) ?? own(databases, '*');
}

export function userEntry({ users }: Config, name: string): UserEntry | null {
  return own(users, name);
}

/** How the servers call a database. */
export function serverDatabase(config: Config, name: string): string {
  return databaseEntry(config, name)?.dbname ?? name;
}

/** True when both configurations lead clients of a database to the same one, as the same user. */
export function sameOnServers(before: Config, after: Config, name: string): boolean {
  const [a, b] = [databaseEntry(before, name), databaseEntry(after, name)];
  return (
    serverDatabase(before, name) === serverDatabase(after, name) &&
    (a?.user ?? null) === (b?.user ?? null) &&
    (a?.password ?? null) === (b?.password ?? null)
  );
}

function own<T>(entries: Readonly<Record<string, T>>, name: string): T | null {
  return Object.hasOwn(entries, name) ? (entries[name] as T) : null;
}

function resolve({ pool }: Config, database: DatabaseEntry | null, user: UserEntry | null): PoolSettings {
  const size = user?.size ?? database?.size ?? pool.size;
  return {
    mode: user?.pool_mode ?? database?.pool_mode ?? pool.mode,
    size,
    minSize: Math.min(size, database?.min_size ?? pool.min_size),
    reserveSize: user?.reserve_size ?? database?.reserve_size ?? pool.reserve_size,
    sharedConnections: pool.shared_connections,
    reserveTimeoutMs: pool.reserve_timeout,
    maxDatabaseConnections: database?.max_connections ?? pool.max_database_connections,
    maxUserConnections: user?.max_connections ?? pool.max_user_connections,
    connectTimeoutMs: pool.connect_timeout,
    idleTimeoutMs: pool.server_idle_timeout,
    lifetimeMs: database?.server_lifetime ?? pool.server_lifetime,
    checkDelayMs: pool.check_delay,
    resetQuery: pool.reset_query.trim(),
    queryTimeoutMs: user?.query_timeout ?? pool.query_timeout,
    idleTransactionTimeoutMs: user?.idle_transaction_timeout ?? pool.idle_transaction_timeout,
    clientIdleTimeoutMs: user?.client_idle_timeout ?? pool.client_idle_timeout,
  };
}
