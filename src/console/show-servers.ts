import type { ServerReport } from '../plane/plane.ts';
import { clockText } from './clock-text.ts';
import { show } from './command.ts';
import { SOCKET_COLUMNS } from './socket-row.ts';

/** https://www.pgbouncer.org/usage.html#show-servers; from `node` on the columns are ours. */
export const SHOW_SERVERS = show({
  name: 'SERVERS',
  help: 'server connections: to which node, since when, held by whom',
  columns: { ...SOCKET_COLUMNS, node: 'text', purpose: 'text', outstanding: 'int4' },
  rows: async ({ plane }) => (await plane.servers()).map(serverRow),
});

export function serverRow(server: ServerReport) {
  const { user, database, node, purpose, pid, clientPid } = server;
  return {
    type: 'S',
    user,
    database,
    replication: 'none',
    state: server.state,
    ...server.ends,
    connect_time: clockText(server.openedMs),
    request_time: clockText(server.requestMs),
    wait: 0,
    wait_us: 0,
    close_needed: server.closing ? 1 : 0,
    ptr: `server ${node} ${pid}`,
    link: clientPid === null ? '' : `client ${clientPid}`,
    remote_pid: pid,
    application_name: server.applicationName,
    prepared_statements: server.preparedStatements,
    id: pid,
    node,
    purpose,
    outstanding: server.outstanding,
  };
}
