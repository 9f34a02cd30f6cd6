import type { Socket } from 'node:net';

/** Where a client comes from, for people: `10.0.0.7:51234`, or `unix`. */
export function peerOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? 'unix' : `${remoteAddress}:${remotePort}`;
}
