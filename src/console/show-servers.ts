import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { nowMs } from '../core/clock.ts';
import { clockText } from './clock-text.ts';
import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { SOCKET_COLUMNS, tlsText } from './socket-row.ts';

/** https://www.pgbouncer.org/usage.html#show-servers; from `node` on the columns are ours. */
export const SHOW_SERVERS = show({
  name: 'SERVERS',
  help: 'server connections: to which node, since when, held by whom',
  columns: { ...SOCKET_COLUMNS, node: 'text', purpose: 'text', outstanding: 'int4' },
  rows: (console) => serverRows(console, nowMs()),
});

export function serverRows({ pools }: Pick<ConsoleDependencies, 'pools'>, atMs: number) {
  return [...pools.all()].flatMap((pool) => [...pool.connections()].map((connection) => rowOf(pool, connection, atMs)));
}

function rowOf(pool: Pool, connection: ServerConnection, atMs: number) {
  const { key } = pool;
  const { holder, requestStartedMs, local } = connection;
  const { address, socket } = connection.login;
  return {
    type: 'S',
    user: key.user,
    database: key.database,
    replication: 'none',
    state: stateOf(pool, connection, atMs),
    addr: address.host,
    port: address.port,
    local_addr: local.address,
    local_port: local.port,
    connect_time: clockText(connection.openedMs),
    request_time: clockText(requestStartedMs ?? connection.idleSinceMs),
    wait: 0,
    wait_us: 0,
    close_needed: connection.tainted || connection.retireAtMs <= atMs ? 1 : 0,
    ptr: `server ${key.node} ${connection.pid}`,
    link: holder === null || holder.clientPid === null ? '' : `client ${holder.clientPid}`,
    remote_pid: connection.pid,
    tls: tlsText(socket),
    application_name: holder === null ? '' : (connection.settings.values.get('application_name') ?? ''),
    prepared_statements: connection.statements.size,
    id: connection.pid,
    node: key.node,
    purpose: key.purpose,
    outstanding: connection.depth,
  };
}

/** In PgBouncer's words: `tested` is asked whether it lives, `used` will be before its next use. */
function stateOf(pool: Pool, connection: ServerConnection, atMs: number): string {
  if (connection.cancelling) return 'being_canceled';
  if (connection.holder !== null || connection.sharing !== null) return 'active';
  if (connection.depth > 0) return 'tested';
  return pool.isStale(connection, atMs) ? 'used' : 'idle';
}
