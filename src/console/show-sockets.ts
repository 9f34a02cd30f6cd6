import { type Operator, show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { clientRow } from './show-clients.ts';
import { serverRow } from './show-servers.ts';
import { SOCKET_COLUMNS } from './socket-row.ts';
import type { Columns } from './table.ts';

/** PgBouncer's buffers. Ours are not positions in one buffer: only what waits to be sent is told. */
const BUFFERS = {
  recv_pos: 'int4',
  pkt_pos: 'int4',
  pkt_remain: 'int4',
  send_pos: 'int4',
  send_remain: 'int4',
  pkt_avail: 'int4',
  send_avail: 'int4',
} as const satisfies Columns;

const COLUMNS = { ...SOCKET_COLUMNS, ...BUFFERS };

async function socketRows({ plane }: ConsoleDependencies, operator: Operator) {
  const none = { recv_pos: 0, pkt_pos: 0, pkt_remain: 0, send_pos: 0, pkt_avail: 0, send_avail: 0 };
  const [clients, servers] = await Promise.all([plane.clients(), plane.servers()]);
  return [
    ...clients.map((client) => ({ ...clientRow(client, operator), ...none, send_remain: client.unsentBytes })),
    ...servers.map((server) => ({ ...serverRow(server), ...none, send_remain: 0 })),
  ];
}

export const SOCKET_COMMANDS = [
  show({
    name: 'SOCKETS',
    help: 'SHOW CLIENTS and SHOW SERVERS in one, with what waits to be sent',
    columns: COLUMNS,
    rows: (console, operator) => socketRows(console, operator),
  }),
  show({
    name: 'ACTIVE_SOCKETS',
    help: 'those of SHOW SOCKETS that do something',
    columns: COLUMNS,
    rows: async (console, operator) =>
      (await socketRows(console, operator)).filter(
        (row) => row.send_remain > 0 || !['idle', 'used'].includes(row.state),
      ),
  }),
];
