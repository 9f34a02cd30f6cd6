/** Settings of PgBouncer that mean the same as a key of ours: for the console, where tools ask for them, and for the import. */
import type { Config } from './config.ts';

export type PgbouncerKey = {
  readonly name: string;
  /** Ours. */
  readonly path: readonly string[];
  /** PgBouncer's times are seconds, perhaps with a fraction. */
  readonly unit: 'seconds' | 'plain';
};

function key(name: string, path: string, unit: PgbouncerKey['unit'] = 'plain'): PgbouncerKey {
  return { name, path: path.split('.'), unit };
}

export const PGBOUNCER_KEYS: readonly PgbouncerKey[] = [
  key('pool_mode', 'pool.mode'),
  key('max_client_conn', 'pool.max_clients'),
  key('default_pool_size', 'pool.size'),
  key('min_pool_size', 'pool.min_size'),
  key('reserve_pool_size', 'pool.reserve_size'),
  key('reserve_pool_timeout', 'pool.reserve_timeout', 'seconds'),
  key('max_db_connections', 'pool.max_database_connections'),
  key('max_db_client_connections', 'pool.max_database_clients'),
  key('max_user_connections', 'pool.max_user_connections'),
  key('max_user_client_connections', 'pool.max_user_clients'),
  key('server_lifetime', 'pool.server_lifetime', 'seconds'),
  key('server_idle_timeout', 'pool.server_idle_timeout', 'seconds'),
  key('server_connect_timeout', 'pool.connect_timeout', 'seconds'),
  key('client_login_timeout', 'pool.startup_timeout', 'seconds'),
  key('query_wait_timeout', 'pool.checkout_timeout', 'seconds'),
  key('query_timeout', 'pool.query_timeout', 'seconds'),
  key('client_idle_timeout', 'pool.client_idle_timeout', 'seconds'),
  key('idle_transaction_timeout', 'pool.idle_transaction_timeout', 'seconds'),
  key('server_check_delay', 'pool.check_delay', 'seconds'),
  key('server_reset_query', 'pool.reset_query'),
  key('stats_period', 'pool.stats_period', 'seconds'),
];

/** PgBouncer's setting of this name; null when there is no counterpart. */
export function pgbouncerKey(name: string): PgbouncerKey | null {
  return PGBOUNCER_KEYS.find((known) => known.name === name.toLowerCase()) ?? null;
}

/** A value as PgBouncer has it, as it is written for us. */
export function ourText({ unit }: PgbouncerKey, text: string): string {
  return unit === 'seconds' ? `${text.trim()}s` : text;
}

/** A value of ours as PgBouncer would show it. */
export function theirText({ path, unit }: PgbouncerKey, config: Config): string {
  let value: unknown = config;
  for (const name of path) value = (value as Record<string, unknown>)[name];
  return unit === 'seconds' ? String((value as number) / 1000) : String(value);
}
