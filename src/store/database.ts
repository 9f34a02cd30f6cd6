import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Config, NodeConfig } from '../config/config.ts';
import { reach } from '../transport/control-stream.ts';
import type { FairleadTables } from './tables.ts';

/** An answer later than this is none. */
const ANSWER_MS = 5000;

/** Login of the cluster's own role at one node, for `pg`. */
export function loginOf(config: Config, node: NodeConfig): pg.ClientConfig {
  const { database, user, password } = config.cluster;
  return {
    ...reach(node),
    database,
    user,
    ...(password === null ? {} : { password }),
    application_name: 'fairlead-store',
    connectionTimeoutMillis: 3000,
    query_timeout: ANSWER_MS,
    statement_timeout: ANSWER_MS,
    // our own bookkeeping never waits for synchronous replicas
    options: '-c synchronous_commit=local',
  };
}

/** A small pool on one node; connections that are not used go away by themselves. */
export function openDatabase(login: pg.ClientConfig, size = 2): Kysely<FairleadTables> {
  const pool = new pg.Pool({ ...login, max: size, idleTimeoutMillis: 30_000, allowExitOnIdle: true });
  // A connection that breaks is replaced when it is needed; without a listener it would end the process. The pool listens while
  // a connection is idle only, and one that breaks under a query tells both the query and its listeners.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return new Kysely<FairleadTables>({ dialect: new PostgresDialect({ pool }) }).withSchema('fairlead');
}

/** Closes the pool, and does not wait for a server that hangs. */
export async function closeDatabase(db: Kysely<FairleadTables>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 1000);
  });
  await Promise.race([db.destroy().catch(() => {}), bound]);
  clearTimeout(timer);
}
