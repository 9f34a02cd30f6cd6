import type { Socket } from 'node:net';

/** Where a client comes from, for people: `10.0.0.7:51234`, or `unix`. */
export function peerOf({ remoteAddress, remotePort }: Socket): string {
  // joined: kept as long as the client stays, and a concatenation keeps its parts too
  return remoteAddress === undefined ? 'unix' : [remoteAddress, remotePort].join(':');
}
