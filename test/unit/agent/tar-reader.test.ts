import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TarReader } from '../../../src/agent/tar-reader.ts';

type Found = { path: string; kind: string; mode: number; text: string };

function readAll(chunks: readonly Buffer[]): { entries: Found[]; between: boolean } {
  const reader = new TarReader();
  const entries: Found[] = [];
  let ended = 0;
  for (const chunk of chunks) {
    for (const event of reader.read(chunk)) {
      if (event.kind === 'entry') {
        const { path, kind, mode } = event.entry;
        entries.push({ path, kind, mode, text: '' });
      } else if (event.kind === 'data') (entries.at(-1) as Found).text += event.bytes.toString();
      else ended++;
    }
  }
  if (reader.between) assert.equal(ended, entries.length);
  return { entries, between: reader.between };
}

describe('TarReader', () => {
  let directory: string;
  let archive: Buffer;
  let expected: Found[];

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'tar-reader-'));
    mkdirSync(join(directory, 'base'), { mode: 0o700 });
    const texts = { empty: '', short: 'abc', block: 'x'.repeat(512), long: 'y'.repeat(1300) };
    for (const [name, text] of Object.entries(texts)) {
      writeFileSync(join(directory, 'base', name), text, { mode: 0o600 });
    }
    const order = ['base', ...Object.keys(texts).map((name) => `base/${name}`)];
    archive = execFileSync('tar', ['--format=ustar', '--no-recursion', '-cf', '-', ...order], { cwd: directory });
    expected = [
      { path: 'base/', kind: 'directory', mode: 0o700, text: '' },
      ...Object.entries(texts).map(([name, text]) => ({ path: `base/${name}`, kind: 'file', mode: 0o600, text })),
    ];
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('reads what tar wrote', () => {
    assert.deepEqual(readAll([archive]), { entries: expected, between: true });
  });

  it('in two parts, cut at every byte of the beginning, and byte by byte', () => {
    for (let cut = 0; cut < 3000; cut++) {
      assert.deepEqual(readAll([archive.subarray(0, cut), archive.subarray(cut)]).entries, expected, `cut at ${cut}`);
    }
    assert.deepEqual(readAll([...archive].map((byte) => Buffer.from([byte]))).entries, expected);
  });

  it('knows whether it ended between two files', () => {
    const zeros = archive.length - archive.subarray(0, archive.length).findLastIndex((byte) => byte !== 0) - 1;
    const content = archive.length - zeros;
    assert.equal(readAll([archive.subarray(0, content - 1)]).between, false);
    assert.equal(
      readAll([archive.subarray(0, Math.ceil(content / 512) * 512)]).between,
      true,
      'without zeros at the end',
    );
  });

  it('reads sizes beyond what octal digits hold', () => {
    const header = Buffer.from(archive.subarray(512, 1024));
    header.write('base/huge\0', 0, 'latin1');
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header.writeBigUInt64BE(9n * 1024n ** 3n, 128);
    header.fill(' ', 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    const [event] = [...new TarReader().read(header)];
    assert.ok(event?.kind === 'entry');
    assert.equal(event.entry.sizeBytes, 9 * 1024 ** 3);
  });

  it('refuses what is no tar', () => {
    const broken = Buffer.from(archive);
    broken[0] = (broken[0] as number) + 1;
    assert.throws(() => readAll([broken]), /no tar/);
    assert.throws(() => readAll([Buffer.alloc(512, 'a')]), /no tar/);
  });
});
