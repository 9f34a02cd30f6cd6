import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderSettings, serverSettings, standbySettings } from '../../../src/embedded/server-settings.ts';

describe('server settings', () => {
  it('writes values as postgresql.conf wants them', () => {
    assert.equal(renderSettings({ a: 1, b: true, c: "it's" }), "a = 1\nb = on\nc = 'it''s'\n");
  });

  it('lets the caller win', () => {
    assert.equal(serverSettings(5432, true, { wal_level: 'replica' }).wal_level, 'replica');
  });

  it('switches fsync off only when nothing has to last', () => {
    assert.equal(serverSettings(5432, true, {}).fsync, undefined);
    assert.equal(serverSettings(5432, false, {}).fsync, false);
  });

  it('names the node to the primary and quotes the password', () => {
    const link = { host: '127.0.0.1', port: 1, user: 'u', password: "a'b\\", nodeName: 'pg2', slot: 'pg2' };
    const conninfo = String(standbySettings(link).primary_conninfo);
    assert.ok(conninfo.includes("application_name='pg2'"));
    assert.ok(conninfo.includes("password='a\\'b\\\\'"));
  });
});
