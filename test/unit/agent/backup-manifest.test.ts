import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { type ReceivedFile, verifyManifest } from '../../../src/agent/backup-manifest.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const received = (text: string): ReceivedFile => ({ sizeBytes: text.length, sha256: sha256(text) });

function manifestOf(files: object[]): Buffer {
  const body = `{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": ${JSON.stringify(files)},\n`;
  return Buffer.from(`${body}"Manifest-Checksum": "${sha256(body)}"}\n`);
}

const FILES = [
  { Path: 'PG_VERSION', Size: 3, 'Checksum-Algorithm': 'SHA256', Checksum: sha256('15\n') },
  {
    'Encoded-Path': Buffer.from('base/1').toString('hex'),
    Size: 4,
    'Checksum-Algorithm': 'SHA256',
    Checksum: sha256('data'),
  },
];
const GOOD = new Map([
  ['PG_VERSION', received('15\n')],
  ['base/1', received('data')],
  ['pg_wal/000000010000000000000002', received('wal')],
]);

describe('the manifest of a backup', () => {
  it('agrees with what arrived; WAL is not in it', () => {
    assert.equal(verifyManifest(manifestOf(FILES), GOOD), 2);
  });

  it('finds a file that is missing, short, or changed', () => {
    const without = new Map([...GOOD].filter(([path]) => path !== 'base/1'));
    assert.throws(() => verifyManifest(manifestOf(FILES), without), /lacks base\/1/);
    assert.throws(() => verifyManifest(manifestOf(FILES), new Map([...GOOD, ['base/1', received('dat')]])), /3 bytes/);
    assert.throws(
      () => verifyManifest(manifestOf(FILES), new Map([...GOOD, ['base/1', received('dota')]])),
      /base\/1 does not have the checksum/,
    );
  });

  it('finds a change of its own', () => {
    const changed = Buffer.from(manifestOf(FILES).toString().replace('"Size":3', '"Size":4'));
    assert.throws(() => verifyManifest(changed, GOOD), /own checksum/);
  });
});
