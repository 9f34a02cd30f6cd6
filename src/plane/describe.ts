/** Sessions, pools and server connections as plain data. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import type { Session } from '../frontend/session.ts';
import type { ClientReport, Ends, PoolReport, ServerReport } from './plane.ts';

/** Both ends of a client's connection. */
export function endsOf(socket: Socket): Ends {
  return {
    addr: socket.remoteAddress ?? 'unix',
    port: socket.remotePort ?? 0,
    local_addr: socket.localAddress ?? 'unix',
    local_port: socket.localPort ?? 0,
    tls: tlsText(socket),
  };
}

function tlsText(socket: Socket): string {
  return socket instanceof TLSSocket ? `${socket.getProtocol()}/${socket.getCipher().standardName}` : '';
}

export function clientReport(session: Session): ClientReport {
  const { client, lastRoute } = session;
  return {
    operator: false,
    pid: client.pid,
    user: client.identity.user,
    database: client.database,
    state: session.state,
    inTransaction: session.inTransaction,
    ends: endsOf(client.socket),
    startedMs: session.startedMs,
    lastRequestMs: session.lastRequestMs,
    linkedTo: session.linkedTo,
    applicationName: session.applicationName,
    preparedStatements: session.preparedStatements,
    pinned: session.pinned,
    waitingFor: session.waitingFor,
    lastRoute: lastRoute === null ? null : { node: lastRoute.node, reason: lastRoute.reason },
    unsentBytes: client.socket.writableLength,
  };
}

export function serverReport(pool: Pool, connection: ServerConnection, atMs: number): ServerReport {
  const { holder, requestStartedMs, local } = connection;
  const { address, socket } = connection.login;
  return {
    ...pool.key,
    pid: connection.pid,
    state: stateOf(pool, connection, atMs),
    ends: {
      addr: address.host,
      port: address.port,
      local_addr: local.address,
      local_port: local.port,
      tls: tlsText(socket),
    },
    openedMs: connection.openedMs,
    requestMs: requestStartedMs ?? connection.idleSinceMs,
    closing: connection.tainted || connection.retireAtMs <= atMs,
    clientPid: holder === null ? null : holder.clientPid,
    applicationName: holder === null ? '' : (connection.settings.values.get('application_name') ?? ''),
    preparedStatements: connection.statements.size,
    outstanding: connection.depth,
  };
}

/** `tested` is asked whether it lives, `used` will be before its next use. */
function stateOf(pool: Pool, connection: ServerConnection, atMs: number): string {
  if (connection.cancelling) return 'being_canceled';
  if (connection.holder !== null || connection.sharing !== null) return 'active';
  if (connection.depth > 0) return 'tested';
  return pool.isStale(connection, atMs) ? 'used' : 'idle';
}

export function poolReport(pool: Pool, atMs: number): PoolReport {
  const connections = [...pool.connections()];
  const count = (passes: (c: ServerConnection) => boolean) => connections.filter(passes).length;
  return {
    ...pool.key,
    clientsServed: count((c) => c.holder !== null) + pool.shared.depth,
    clientsWaiting: pool.waitingCount,
    total: pool.totalCount,
    active: pool.activeCount,
    cancelling: count((c) => c.cancelling),
    idle: pool.idleCount,
    stale: count((c) => c.holder === null && c.sharing === null && c.depth === 0 && pool.isStale(c, atMs)),
    checking: pool.checkingCount,
    opening: pool.openingCount,
    shared: pool.shared.count,
    sharedReads: pool.shared.joined,
    displacedReads: pool.shared.displaced,
    longestWaitMs: pool.longestWaitMs(atMs),
    closing: pool.closing,
  };
}
