import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cancelPacket, negotiateVersion, readOptions, readStartup, startupPacket } from '../../../src/wire/startup.ts';

function packet(code: number, body: string | Buffer): Buffer {
  const bytes = Buffer.from(body as string, 'latin1');
  const out = Buffer.alloc(8 + bytes.length);
  out.writeUInt32BE(out.length, 0);
  out.writeUInt32BE(code, 4);
  bytes.copy(out, 8);
  return out;
}

const V3 = 3 << 16;

describe('readStartup', () => {
  it('reads what startupPacket writes', () => {
    const parameters = [
      ['user', 'äöü'],
      ['database', ''],
      ['options', '-c x=y'],
    ] as const;
    const read = readStartup(startupPacket(parameters));
    assert.deepEqual(read, { kind: 'startup', major: 3, minor: 0, parameters: new Map(parameters) });
  });

  it('tells encryption requests, later minor versions and other majors', () => {
    assert.deepEqual(readStartup(packet(80877103, '')), { kind: 'ssl' });
    assert.deepEqual(readStartup(packet(80877104, '')), { kind: 'gss' });
    const later = readStartup(packet(V3 + 2, 'user\0a\0\0'));
    assert.equal(later.kind === 'startup' && later.minor, 2);
    for (const code of [2 << 16, 4 << 16, 80877105]) {
      assert.equal(readStartup(packet(code, 'user\0a\0\0')).kind, 'unsupported');
    }
  });

  it('reads a cancel request with a short and a long secret', () => {
    for (const size of [4, 32, 256]) {
      const secret = Buffer.alloc(size, 7);
      assert.deepEqual(readStartup(cancelPacket(-5, secret)), { kind: 'cancel', pid: -5, secret });
    }
    assert.equal(readStartup(cancelPacket(1, Buffer.alloc(0))).kind, 'invalid');
    assert.equal(readStartup(cancelPacket(1, Buffer.alloc(257))).kind, 'invalid');
  });

  it('refuses what is not terminated, or goes on behind its end', () => {
    for (const body of ['', 'user', 'user\0', 'user\0a', 'user\0a\0', 'user\0a\0\0\0', 'user\0a\0\0x\0y\0\0']) {
      assert.equal(readStartup(packet(V3, body)).kind, 'invalid', JSON.stringify(body));
    }
    assert.equal(readStartup(Buffer.alloc(4)).kind, 'invalid');
  });

  it('takes the last of a parameter that is given twice', () => {
    const read = readStartup(packet(V3, 'user\0a\0user\0b\0\0'));
    assert.equal(read.kind === 'startup' && read.parameters.get('user'), 'b');
  });

  it('takes any bytes without throwing', () => {
    for (let seed = 1; seed < 500; seed++) {
      const bytes = Buffer.from(Array.from({ length: 4 + (seed % 40) }, (_, i) => (seed * 31 + i * i * 17) & 255));
      readStartup(packet(seed % 2 === 0 ? V3 : 80877102, bytes));
    }
  });
});

describe('readOptions', () => {
  const cases: readonly (readonly [string, Record<string, string> | null])[] = [
    ['', {}],
    ['-c a=b', { a: 'b' }],
    ['-ca=b  --work-mem=64MB', { a: 'b', work_mem: '64MB' }],
    ['-c work-mem=1', { work_mem: '1' }],
    ['-c search_path=a\\ b,c\\\\d', { search_path: 'a b,c\\d' }],
    ['-c a=', { a: '' }],
    ['-c a=b=c', { a: 'b=c' }],
    ['-c fairlead.consistency=strong', { 'fairlead.consistency': 'strong' }],
    ['-c', null],
    ['-c a', null],
    ['-c =b', null],
    ['-d 5', null],
    ['junk', null],
  ];
  for (const [text, expected] of cases) {
    it(JSON.stringify(text), () => {
      const read = readOptions(text);
      assert.deepEqual(read === null ? null : Object.fromEntries(read), expected);
    });
  }
});

describe('negotiateVersion', () => {
  it('names the version and the options that are not known', () => {
    const bytes = negotiateVersion(0, ['_pq_.a', '_pq_.bc']);
    assert.equal(bytes[0], 0x76);
    assert.equal(bytes.readInt32BE(1), bytes.length - 1);
    assert.equal(bytes.readInt32BE(5), V3);
    assert.equal(bytes.readInt32BE(9), 2);
    assert.equal(bytes.toString('latin1', 13), '_pq_.a\0_pq_.bc\0');
  });
});
