import type net from 'node:net';

/** What an encrypted stream lies on. */
const CARRIERS = new WeakMap<net.Socket, net.Socket>();

export function carriedBy(encrypted: net.Socket, carrier: net.Socket): void {
  CARRIERS.set(encrypted, carrier);
}

/**
 * Destroys a socket such that nothing written to it arrives from here on. After an ordinary end the kernel goes on sending what was
 * written for minutes: a statement whose outcome was told as unknown would run when a cut network is whole again.
 */
export function abortSocket(socket: net.Socket): void {
  // resetAndDestroy() waits until everything is written, which is never where nobody reads; this is the flag it sets for _destroy()
  Object.assign(CARRIERS.get(socket) ?? socket, { resetAndClosing: true });
  socket.destroy();
}
