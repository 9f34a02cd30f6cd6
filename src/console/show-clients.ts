import { nowMs } from '../core/clock.ts';
import type { ClientReport } from '../plane/plane.ts';
import { clockText, secondsAndMicros } from './clock-text.ts';
import { type Operator, show } from './command.ts';
import { SOCKET_COLUMNS } from './socket-row.ts';

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
  rows: async ({ plane }, operator) => (await plane.clients()).map((client) => clientRow(client, operator)),
});

export function clientRow(client: ClientReport, { asPgbouncer }: Operator) {
  const { linkedTo, lastRoute, operator, pid } = client;
  const waitedMs = client.state === 'waiting' ? nowMs() - client.lastRequestMs : 0;
  const [wait, wait_us] = secondsAndMicros(waitedMs);
  return {
    type: 'C',
    user: client.user,
    database: client.database,
    replication: 'none',
    state: stateOf(client, asPgbouncer),
    ...client.ends,
    connect_time: clockText(client.startedMs),
    request_time: clockText(client.lastRequestMs),
    wait,
    wait_us,
    close_needed: 0,
    ptr: `${operator ? 'console' : 'client'} ${pid}`,
    link: linkedTo === null ? '' : `server ${linkedTo.node} ${linkedTo.pid}`,
    remote_pid: 0,
    application_name: client.applicationName,
    prepared_statements: client.preparedStatements,
    id: pid,
    node: linkedTo?.node ?? null,
    pinned: client.pinned,
    waiting_for: client.waitingFor,
    last_node: lastRoute?.node ?? null,
    last_reason: lastRoute?.reason ?? null,
  };
}

/** PgBouncer calls every client active that holds a server connection; we tell what it does. */
function stateOf({ state, linkedTo, inTransaction }: ClientReport, asPgbouncer: boolean): string {
  if (state !== 'idle') return state;
  if (asPgbouncer) return linkedTo === null ? 'idle' : 'active';
  return inTransaction ? 'idle in transaction' : 'idle';
}
