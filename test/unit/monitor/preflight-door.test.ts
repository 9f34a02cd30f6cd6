import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { type Config, configSchema } from '../../../src/config/config.ts';
import { judgeDoor } from '../../../src/monitor/preflight-door.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { needsProgram } from '../../support/needs.ts';

const DAY_MS = 86_400_000;

function configWith(tls: object, rules: readonly string[] = []): Config {
  return configSchema.parse({ cluster: { user: 'a', nodes: { pg1: '127.0.0.1:5432' } }, tls, auth: { rules } });
}

describe('judgeDoor', () => {
  const said = (config: Config, atMs?: number) =>
    judgeDoor(config, atMs).map(({ level, message }) => `${level} ${message}`);

  it('warns of rules that let in more than they seem to, or nobody', () => {
    assert.deepEqual(said(configWith({})), []);
    const rules = [
      'host all all all trust',
      'host all all 10.0.0.0/8 trust',
      'host all all all password',
      'hostssl all all all password',
      'local all all trust',
    ];
    const [wide, clear, nobody, ...rest] = said(configWith({}, rules));
    assert.match(wide ?? '', /^warning auth\.rules\[0\]: trust lets in everybody/);
    assert.match(clear ?? '', /^warning auth\.rules\[2\]: passwords cross the network/);
    assert.match(nobody ?? '', /^warning auth\.rules\[3\]: fits nobody/);
    assert.deepEqual(rest, []);
  });

  describe('of certificates', { skip: needsProgram('openssl') }, () => {
    const authority = needsProgram('openssl') ? null : makeAuthority();
    after(() => authority?.remove());

    it('says until when it is valid, and what does not go together', () => {
      const { certFile: cert, keyFile: key } = authority?.issue('a', null) ?? { certFile: '', keyFile: '' };
      const other = authority?.issue('b', null).keyFile;
      assert.match(said(configWith({ cert, key }))[0] ?? '', /^warning tls\.cert: expires on/);
      assert.match(said(configWith({ cert, key }), Date.now() + 9 * DAY_MS)[0] ?? '', /^error tls\.cert: expired on/);
      assert.match(said(configWith({ cert, key }), Date.now() - 90 * DAY_MS)[0] ?? '', /^ok clients are offered TLS/);
      assert.match(said(configWith({ cert, key: other }))[0] ?? '', /^error tls: .*do not go together/);
      assert.match(said(configWith({ cert: '/nowhere', key }))[0] ?? '', /^error tls\.cert: cannot read/);
      assert.match(said(configWith({ cert, key, ciphers: 'nonsense' }))[0] ?? '', /^error tls: /);
      assert.deepEqual(said(configWith({ mode: 'disable', cert: '/nowhere', key })), []);
    });
  });
});
