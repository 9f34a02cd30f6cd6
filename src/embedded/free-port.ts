import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const LOWEST = 15_000;

/** Whether a listener on `host:port` could be opened right now. */
export function portIsFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return listenOn(port, host).then(
    () => true,
    () => false,
  );
}

/** How far apart the processes of neighbouring ids begin to look. A prime, so that they come round late. */
const STRIDE = 251;
/** Ports looked at by this process. */
let looked = 0;

/**
 * A port on the loopback address that nobody has. Chosen below the range from which the kernel takes the ports of outgoing
 * connections: a server that is down for a while must find its own port again, and nobody who tries to reach it
 * meanwhile may end up connected to himself. A port stays free until its server starts, seconds later: a process is never given the
 * same one twice in a row of thousands, and looks where others that run beside it do not.
 */
export async function freePort(): Promise<number> {
  const choice = firstEphemeralPort() - LOWEST;
  for (let tries = 0; choice > 1000 && tries < 100; tries++) {
    const port = LOWEST + ((process.pid * STRIDE + looked++) % choice);
    if (await portIsFree(port)) return port;
  }
  return listenOn(0, '127.0.0.1');
}

function firstEphemeralPort(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  } catch {
    return 49_152; // IANA's, which macOS keeps to
  }
}

function listenOn(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, () => {
      const taken = (server.address() as { port: number }).port;
      server.close(() => resolve(taken));
    });
  });
}
