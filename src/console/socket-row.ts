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
