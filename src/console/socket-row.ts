import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Columns } from './table.ts';

/** What SHOW CLIENTS, SHOW SERVERS and SHOW SOCKETS have in common. https://www.pgbouncer.org/usage.html#show-clients */
export const SOCKET_COLUMNS = {
  type: 'text',
  user: 'text',
  database: 'text',
  replication: 'text',
  state: 'text',
  addr: 'text',
  port: 'int4',
  local_addr: 'text',
  local_port: 'int4',
  connect_time: 'text',
  request_time: 'text',
  wait: 'int4',
  wait_us: 'int4',
  close_needed: 'int4',
  ptr: 'text',
  link: 'text',
  remote_pid: 'int4',
  tls: 'text',
  application_name: 'text',
  prepared_statements: 'int4',
  id: 'int4',
} as const satisfies Columns;

/** Both ends of a client's connection. */
export function endsOf(socket: Socket) {
  return {
    addr: socket.remoteAddress ?? 'unix',
    port: socket.remotePort ?? 0,
    local_addr: socket.localAddress ?? 'unix',
    local_port: socket.localPort ?? 0,
    tls: tlsText(socket),
  };
}

/** `TLSv1.3/TLS_AES_256_GCM_SHA384`; empty without encryption. */
export function tlsText(socket: Socket): string {
  return socket instanceof TLSSocket ? `${socket.getProtocol()}/${socket.getCipher().standardName}` : '';
}
