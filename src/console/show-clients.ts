import { nowMs } from '../core/clock.ts';
import type { Session } from '../frontend/session.ts';
import { clockText, secondsAndMicros } from './clock-text.ts';
import { show } from './command.ts';

/** https://www.pgbouncer.org/usage.html#show-clients; from `node` on the columns are ours. */
export const SHOW_CLIENTS = show({
  name: 'CLIENTS',
  help: 'clients: what they do, what they wait for, what they hold',
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
    pinned: 'text',
    waiting_for: 'text',
    last_node: 'text',
    last_reason: 'text',
  },
  rows: ({ sessions }) => [...sessions.all()].map(rowOf),
});

function rowOf(session: Session) {
  const { client, linkedTo, requestStartedMs, lastRoute } = session;
  const waitedMs = session.state === 'waiting' && requestStartedMs !== null ? nowMs() - requestStartedMs : 0;
  const [wait, wait_us] = secondsAndMicros(waitedMs);
  return {
    type: 'C',
    user: client.identity.user,
    database: client.database,
    replication: 'none',
    state: stateOf(session),
    addr: client.socket.remoteAddress ?? '',
    port: client.socket.remotePort ?? 0,
    local_addr: client.socket.localAddress ?? '',
    local_port: client.socket.localPort ?? 0,
    connect_time: clockText(session.startedMs),
    request_time: requestStartedMs === null ? null : clockText(requestStartedMs),
    wait,
    wait_us,
    close_needed: 0,
    ptr: `client ${client.pid}`,
    link: linkedTo === null ? '' : `server ${linkedTo.node} ${linkedTo.pid}`,
    remote_pid: 0,
    tls: '',
    application_name: session.applicationName,
    prepared_statements: session.preparedStatements,
    id: client.pid,
    node: linkedTo?.node ?? null,
    pinned: session.pinned,
    waiting_for: session.waitingFor,
    last_node: lastRoute?.node ?? null,
    last_reason: lastRoute?.reason ?? null,
  };
}

/** PgBouncer calls a client active whatever it does, unless it waits; we tell what it does. */
function stateOf(session: Session): string {
  if (session.state !== 'idle') return session.state;
  return session.inTransaction ? 'idle in transaction' : 'idle';
}
