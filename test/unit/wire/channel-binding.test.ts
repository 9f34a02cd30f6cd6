import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { endPointBinding } from '../../../src/wire/channel-binding.ts';
import { needsProgram } from '../../support/needs.ts';

const PSS = ['-sigopt', 'rsa_padding_mode:pss'];

/** Kind of key, digest and options of the signature; the hash that binds. */
const CERTIFICATES: readonly (readonly [string, readonly string[], string | null])[] = [
  ['rsa:2048', ['-sha256'], 'sha256'],
  ['rsa:2048', ['-sha1'], 'sha256'],
  ['rsa:2048', ['-sha512'], 'sha512'],
  ['rsa:2048', ['-sha384', ...PSS], 'sha384'],
  ['rsa:2048', ['-sha1', ...PSS], 'sha256'],
  ['ed25519', [], null],
];

describe('endPointBinding', { skip: needsProgram('openssl') }, () => {
  it('hashes with what the signature is made with, and never with less than SHA-256', () => {
    const directory = mkdtempSync(join(tmpdir(), 'binding-'));
    try {
      for (const [key, options, hash] of CERTIFICATES) {
        const words = [
          'req',
          '-x509',
          '-newkey',
          key,
          '-nodes',
          '-keyout',
          'k',
          '-subj',
          '/CN=x',
          '-out',
          'c',
          ...options,
        ];
        execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' });
        const der = new X509Certificate(readFileSync(join(directory, 'c'))).raw;
        const expected = hash === null ? null : createHash(hash).update(der).digest('hex');
        assert.equal(endPointBinding(der)?.toString('hex') ?? null, expected, `${key} ${options}`);
        for (const at of [1, 3, 40]) assert.doesNotThrow(() => endPointBinding(der.subarray(0, at)));
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
