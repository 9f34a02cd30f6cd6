import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { slabReading } from '../../../src/transport/read-slabs.ts';
import { randomFrom } from '../../support/random.ts';
import { until } from '../../support/wait.ts';

describe('reading into slabs', () => {
  let server: net.Server;
  let peer: net.Socket;
  let socket: net.Socket;
  const chunks: Buffer[] = [];
  const received = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

  before(async () => {
    server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    const { port } = server.address() as net.AddressInfo;
    const one: net.Socket = net.connect({ port, host: '127.0.0.1', onread: slabReading(() => one) });
    socket = one;
    socket.on('data', (chunk) => chunks.push(chunk));
    peer = await accepted;
  });
  after(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });

  it('leaves what was read as it is, whatever comes later', async () => {
    const random = randomFrom(3);
    const sent: Buffer[] = [];
    for (let i = 0; i < 3000; i++) {
      const size = i % 100 === 0 ? 300_000 : 1 + random.int(200);
      const piece = Buffer.alloc(size, i & 255);
      sent.push(piece);
      peer.write(piece);
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const whole = Buffer.concat(sent);
    await until(() => received() === whole.length, { what: 'all of it' });
    assert.ok(Buffer.concat(chunks).equals(whole));
    assert.ok(chunks.length > 30);
  });

  it('stops while the socket is paused, and goes on', async () => {
    const before = received();
    socket.pause();
    peer.write(Buffer.alloc(8 * 1024 * 1024));
    // what the kernel has no room for stays with the sender
    await until(() => peer.writableLength > 0, { what: 'back-pressure' });
    assert.ok(received() - before < 1024 * 1024);
    socket.resume();
    await until(() => received() - before === 8 * 1024 * 1024, { what: 'the rest' });
  });

  it('tells the end', async () => {
    const closed = new Promise((resolve) => socket.once('close', resolve));
    peer.end();
    await closed;
  });
});
