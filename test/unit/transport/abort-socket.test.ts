import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { abortSocket, carriedBy } from '../../../src/transport/abort-socket.ts';
import { makeAuthority } from '../../support/certificates.ts';

/** More than the kernel takes at once. */
const MUCH = Buffer.alloc(32 * 1024 * 1024);

type Accepted = { readonly client: net.Socket; readonly server: net.Socket; close(): void };

async function connected(): Promise<Accepted> {
  const listener = net.createServer({ pauseOnConnect: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const accepting = once(listener, 'connection');
  const client = net.connect((listener.address() as net.AddressInfo).port, '127.0.0.1');
  const [server] = (await accepting) as [net.Socket];
  await once(client, 'connect');
  for (const end of [client, server]) end.on('error', () => {});
  return { client, server, close: () => void listener.close() };
}

/** Whether the kernel still has something to send there; another connection may have one of the ports. */
function lingers({ local, remote }: Ports): boolean {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`^ *\\d+: \\w+:${hex(local)} \\w+:${hex(remote)} `, 'm');
  return line.test(readFileSync('/proc/net/tcp', 'utf8'));
}

type Ports = { readonly local: number; readonly remote: number };

function portsOf({ localPort, remotePort }: net.Socket): Ports {
  return { local: localPort ?? 0, remote: remotePort ?? 0 };
}

const SKIP = existsSync('/proc/net/tcp') ? false : 'this machine cannot: no /proc/net/tcp';

describe('a socket whose other end does not read', { skip: SKIP }, () => {
  it('is sent on when it is destroyed, and not when it is aborted', async () => {
    for (const abort of [false, true]) {
      const { client, server, close } = await connected();
      client.write(MUCH);
      const ports = portsOf(client);
      const closed = once(client, 'close');
      if (abort) abortSocket(client);
      else client.destroy();
      await closed;
      const sends = lingers(ports);
      server.destroy();
      close();
      assert.equal(sends, !abort);
    }
  });

  it('with TLS too', async () => {
    const authority = makeAuthority();
    try {
      const { cert, key } = authority.issue('server', 'DNS:localhost');
      const { client, server, close } = await connected();
      const secured = new tls.TLSSocket(server, { isServer: true, cert, key });
      const encrypted = tls.connect({ socket: client, ca: authority.ca, servername: 'localhost' });
      carriedBy(encrypted, client);
      await once(encrypted, 'secureConnect');
      server.pause();
      encrypted.write(MUCH);
      const ports = portsOf(client);
      const closed = once(encrypted, 'close');
      abortSocket(encrypted);
      await closed;
      const sends = lingers(ports);
      secured.destroy();
      close();
      assert.equal(sends, false);
    } finally {
      authority.remove();
    }
  });
});
