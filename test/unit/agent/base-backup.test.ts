import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BackupSource, receiveBackup } from '../../../src/agent/base-backup.ts';
import type { ServerMessage } from '../../../src/agent/replication-connection.ts';

/** A server's side of the conversation, message by message. Real servers of both protocols: the integration tests of clones. */
function script(major: number, messages: readonly [string, Buffer?][]): BackupSource & { readonly sent: string[] } {
  const queue = messages.map(
    ([type, body]): ServerMessage => ({
      type: type.charCodeAt(0),
      body: body ?? Buffer.alloc(0),
    }),
  );
  const sent: string[] = [];
  return {
    major,
    sent,
    send: (command) => void sent.push(command),
    next: async () => {
      const found = queue.shift();
      if (found === undefined) throw new Error('nothing more was expected');
      return found;
    },
  };
}

function row(...values: (string | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(2)];
  parts[0]?.writeUInt16BE(values.length);
  for (const value of values) {
    const size = Buffer.alloc(4);
    size.writeInt32BE(value === null ? -1 : Buffer.byteLength(value));
    parts.push(size, Buffer.from(value ?? ''));
  }
  return Buffer.concat(parts);
}

const result = (...rows: Buffer[]): [string, Buffer?][] => [
  ['T'],
  ...rows.map((r): [string, Buffer] => ['D', r]),
  ['C'],
];
const START = result(row('0/2000028', '1'));
const SPACES = result(row(null, null, '3'));
const END = result(row('0/2000130', '1'));
const letter = (kind: string, text: string): [string, Buffer] => ['d', Buffer.from(`${kind}${text}`)];

async function receive(source: BackupSource) {
  let archive = '';
  let manifest = '';
  const progress: (readonly [number, number])[] = [];
  const backup = await receiveBackup(
    source,
    {
      archive: async (bytes) => {
        archive += bytes.toString();
      },
      manifest: (bytes) => {
        manifest += bytes.toString();
      },
    },
    ({ doneBytes, totalBytes }) => progress.push([doneBytes, totalBytes]),
  );
  return { ...backup, archive, manifest, progress };
}

describe('BASE_BACKUP', () => {
  it('of 15 and later: one COPY with letters', async () => {
    const copy: [string, Buffer?][] = [
      ['H'],
      letter('n', 'base.tar\0\0'),
      letter('d', 'abc'),
      letter('p', '\0\0\0\0\0\0\0\x03'),
      letter('d', 'def'),
      letter('m', ''),
      letter('d', '{manifest}'),
      ['c'],
    ];
    const source = script(15, [...START, ...SPACES, ...copy, ...END, ['C'], ['Z', Buffer.from('I')]]);
    assert.deepEqual(await receive(source), {
      ...{ startLsn: '0/2000028', timeline: 1, endLsn: '0/2000130', archive: 'abcdef', manifest: '{manifest}' },
      progress: [
        [3, 3072],
        [6, 3072],
      ],
    });
    assert.match(source.sent[0] ?? '', /^BASE_BACKUP \(.*WAL true.*\)$/);
  });

  it('before 15: a COPY for the data and one for the manifest', async () => {
    const copies: [string, Buffer?][] = [
      ['H'],
      ['d', Buffer.from('abc')],
      ['d', Buffer.from('def')],
      ['c'],
      ['H'],
      ['d', Buffer.from('{manifest}')],
      ['c'],
    ];
    const source = script(14, [...START, ...SPACES, ...copies, ...END, ['C'], ['Z', Buffer.from('I')]]);
    const { archive, manifest, endLsn } = await receive(source);
    assert.deepEqual({ archive, manifest, endLsn }, { archive: 'abcdef', manifest: '{manifest}', endLsn: '0/2000130' });
    assert.match(source.sent[0] ?? '', /^BASE_BACKUP LABEL 'fairlead' PROGRESS FAST WAL /);
  });

  it('refuses tablespaces before anything is copied', async () => {
    const spaces = result(row('16385', '/mnt/fast', '10'), row(null, null, '3'));
    await assert.rejects(receive(script(15, [...START, ...spaces])), {
      code: 'unsupported',
      message: 'the source has 1 tablespace outside its data directory: /mnt/fast',
    });
  });

  it('does not take anything else for a backup', async () => {
    await assert.rejects(receive(script(15, [...START, ...SPACES, ['d', Buffer.from('x')]])), /type d inside a backup/);
    await assert.rejects(receive(script(15, [...START, ...SPACES, ['H'], letter('q', '')])), /unknown kind 113/);
  });
});
