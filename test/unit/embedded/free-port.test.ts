import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, it } from 'node:test';
import { freePort, portIsFree } from '../../../src/embedded/free-port.ts';

describe('freePort', () => {
  it('gives a port that can be listened on, and sees when it is taken', async () => {
    const port = await freePort();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      assert.equal(await portIsFree(port), false);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    assert.equal(await portIsFree(port), true);
  });

  it('gives no port twice: a demo asked for all of its ports before it opened the first', async () => {
    const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
    assert.equal(new Set(ports).size, ports.length);
  });
});
