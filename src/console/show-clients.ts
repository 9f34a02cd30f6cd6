import { nowMs } from '../core/clock.ts';
import type { Session } from '../frontend/session.ts';
import { clockText, secondsAndMicros } from './clock-text.ts';
import { type Operator, show } from './command.ts';
import type { ConsoleSession } from './console-session.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { endsOf, SOCKET_COLUMNS } from './socket-row.ts';

/** https://www.pgbouncer.org/usage.html#show-clients; from `node` on the columns are ours. */
export const SHOW_CLIENTS = show({
  name: 'CLIENTS',
  help: 'clients: what they do, what they wait for, what they hold, and why they keep it',
  columns: {
    ...SOCKET_COLUMNS,
    node: 'text',
    pinned: 'text',
    waiting_for: 'text',
    last_node: 'text',
    last_reason: 'text',
  },
  rows: clientRows,
});

export function clientRows({ sessions, consoles }: ConsoleDependencies, { asPgbouncer }: Operator) {
  return [...[...sessions.all()].map((session) => rowOf(session, asPgbouncer)), ...[...consoles.all()].map(consoleRow)];
}

function rowOf(session: Session, asPgbouncer: boolean) {
  const { client, linkedTo, lastRoute } = session;
  const waitedMs = session.state === 'waiting' ? nowMs() - session.lastRequestMs : 0;
  const [wait, wait_us] = secondsAndMicros(waitedMs);
  return {
    type: 'C',
    user: client.identity.user,
    database: client.database,
    replication: 'none',
    state: stateOf(session, asPgbouncer),
    ...endsOf(client.socket),
    connect_time: clockText(session.startedMs),
    request_time: clockText(session.lastRequestMs),
    wait,
    wait_us,
    close_needed: 0,
    ptr: `client ${client.pid}`,
    link: linkedTo === null ? '' : `server ${linkedTo.node} ${linkedTo.pid}`,
    remote_pid: 0,
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

/** PgBouncer calls every client active that holds a server connection; we tell what it does. */
function stateOf(session: Session, asPgbouncer: boolean): string {
  if (session.state !== 'idle') return session.state;
  if (asPgbouncer) return session.linkedTo === null ? 'idle' : 'active';
  return session.inTransaction ? 'idle in transaction' : 'idle';
}

/** An operator at the console, whoever asks included. */
function consoleRow(console: ConsoleSession) {
  const { client, startedMs, lastRequestMs, busy } = console;
  return {
    type: 'C',
    user: client.identity.user,
    database: client.database,
    replication: 'none',
    state: busy ? 'active' : 'idle',
    ...endsOf(client.socket),
    connect_time: clockText(startedMs),
    request_time: clockText(lastRequestMs),
    wait: 0,
    wait_us: 0,
    close_needed: 0,
    ptr: `console ${client.key.pid}`,
    link: '',
    remote_pid: 0,
    application_name: '',
    prepared_statements: 0,
    id: client.key.pid,
    node: null,
    pinned: null,
    waiting_for: null,
    last_node: null,
    last_reason: null,
  };
}
