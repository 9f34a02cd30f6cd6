import { TLSSocket } from 'node:tls';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { clockText } from './clock-text.ts';
import { show } from './command.ts';

/** https://www.pgbouncer.org/usage.html#show-servers; from `node` on the columns are ours. */
export const SHOW_SERVERS = show({
  name: 'SERVERS',
  help: 'server connections: to which node, since when, held by whom',
  columns: {
    type: 'text',
    user: 'text',
    database: 'text',
    replication: 'text',
    state: 'text',
    addr: 'text',
    port: 'int8',
    local_addr: 'text',
    local_port: 'int8',
    connect_time: 'text',
    request_time: 'text',
    wait: 'int8',
    wait_us: 'int8',
    close_needed: 'int8',
    ptr: 'text',
    link: 'text',
    remote_pid: 'int8',
    tls: 'text',
    application_name: 'text',
    prepared_statements: 'int8',
    id: 'int8',
    node: 'text',
    purpose: 'text',
    outstanding: 'int8',
  },
  rows: ({ pools }) =>
    [...pools.all()].flatMap((pool) => [...pool.connections()].map((connection) => rowOf(pool, connection))),
});

function rowOf({ key }: Pool, connection: ServerConnection) {
  const { holder, requestStartedMs, local } = connection;
  const { address, socket } = connection.login;
  return {
    type: 'S',
    user: key.user,
    database: key.database,
    replication: 'none',
    state: connection.cancelling ? 'being_canceled' : holder !== null || connection.depth > 0 ? 'active' : 'idle',
    addr: address.host,
    port: address.port,
    local_addr: local.address,
    local_port: local.port,
    connect_time: clockText(connection.openedMs),
    request_time: clockText(requestStartedMs ?? connection.idleSinceMs),
    wait: 0,
    wait_us: 0,
    close_needed: connection.tainted ? 1 : 0,
    ptr: `server ${key.node} ${connection.pid}`,
    link: holder === null || holder.clientPid === null ? '' : `client ${holder.clientPid}`,
    remote_pid: connection.pid,
    tls: socket instanceof TLSSocket ? `${socket.getProtocol()}/${socket.getCipher().name}` : '',
    application_name: connection.settings.values.get('application_name') ?? '',
    prepared_statements: connection.statements.size,
    id: connection.pid,
    node: key.node,
    purpose: key.purpose,
    outstanding: connection.depth,
  };
}
