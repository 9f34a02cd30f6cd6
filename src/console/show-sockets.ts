import { nowMs } from '../core/clock.ts';
import { type Operator, show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { clientRows } from './show-clients.ts';
import { serverRows } from './show-servers.ts';
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

function socketRows(console: ConsoleDependencies, operator: Operator) {
  const waiting = new Map<number, number>();
  for (const { client } of [...console.sessions.all(), ...console.consoles.all()]) {
    const id = 'pid' in client ? client.pid : client.key.pid;
    waiting.set(id, client.socket.writableLength);
  }
  const none = { recv_pos: 0, pkt_pos: 0, pkt_remain: 0, send_pos: 0, pkt_avail: 0, send_avail: 0 };
  return [
    ...clientRows(console, operator).map((row) => ({ ...row, ...none, send_remain: waiting.get(row.id) ?? 0 })),
    ...serverRows(console, nowMs()).map((row) => ({ ...row, ...none, send_remain: 0 })),
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
    rows: (console, operator) =>
      socketRows(console, operator).filter((row) => row.send_remain > 0 || !['idle', 'used'].includes(row.state)),
  }),
];
