import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServerTls } from '../../../src/config/config.ts';
import { encryptionsFor } from '../../../src/transport/server-socket.ts';

const at = (host: string, tls: Partial<ServerTls> = {}) =>
  encryptionsFor({
    host,
    port: 5432,
    tls: { mode: 'prefer', ca: null, cert: null, key: null, cleartext_password: 'encrypted', ...tls },
  });

describe('TLS towards a server in mode prefer', () => {
  it('comes first over a network', () => assert.deepEqual(at('10.0.0.1'), ['tls', 'plain']));
  it('comes second on loopback', () => {
    for (const host of ['127.0.0.1', '::1', 'localhost']) assert.deepEqual(at(host), ['plain', 'tls'], host);
  });
  it('comes first on loopback too where certificates were given', () => {
    assert.deepEqual(at('127.0.0.1', { ca: 'file' }), ['tls', 'plain']);
    assert.deepEqual(at('127.0.0.1', { cert: 'file' }), ['tls', 'plain']);
  });
});
