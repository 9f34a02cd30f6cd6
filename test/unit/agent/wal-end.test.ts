import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { cutSnapshots, segmentName, walBeyond } from '../../../src/agent/wal-end.ts';
import { type Lsn, parseLsn } from '../../../src/core/lsn.ts';

const SEGMENT_BYTES = 1024 * 1024;
const PAGE_BYTES = 8192;

describe('where the WAL of a data directory ends', () => {
  let data: string;
  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), 'fairlead-test-'));
    mkdirSync(join(data, 'pg_wal'));
  });
  afterEach(() => rmSync(data, { recursive: true }));

  /** A segment that is written from its start to that point, with old contents of another segment behind the page. */
  const written = (timeline: number, end: Lsn) => {
    const bytes = Buffer.alloc(SEGMENT_BYTES, 0);
    const start = end - (end % BigInt(SEGMENT_BYTES));
    for (let at = 0; at < SEGMENT_BYTES; at += PAGE_BYTES) {
      const address = start + BigInt(at);
      const mine = address < end;
      bytes.writeBigUInt64LE(mine ? address : address + 0x1_0000_0000n, at + 8);
      const until = mine ? Math.min(PAGE_BYTES, Number(end - address)) : PAGE_BYTES;
      bytes.fill(7, at + 24, at + until);
    }
    writeFileSync(join(data, 'pg_wal', segmentName(timeline, end, BigInt(SEGMENT_BYTES))), bytes);
  };
  const beyond = (fork: string, timeline = 1) => walBeyond(data, [{ timeline, endLsn: parseLsn(fork) }]);

  it('names segments as PostgreSQL does', () => {
    assert.equal(segmentName(1, parseLsn('0/16B3740'), 16n * 1024n * 1024n), '000000010000000000000001');
    assert.equal(segmentName(31, parseLsn('2/FF000028'), 16n * 1024n * 1024n), '0000001F00000002000000FF');
    assert.equal(segmentName(1, parseLsn('1/200000'), 1024n * 1024n), '000000010000000100000002');
  });

  it('a record behind the fork is WAL of its own', () => {
    written(1, parseLsn('0/143A88'));
    assert.match(beyond('0/143A80') ?? '', /WAL beyond 0\/143A80, where timeline 1 was left/);
    assert.match(beyond('0/110028') ?? '', /beyond/);
  });

  it('nothing behind it, in the same page or at all, is none', () => {
    written(1, parseLsn('0/143A88'));
    assert.equal(beyond('0/143A88'), null);
    assert.equal(beyond('0/146000'), null, 'a page that holds an older segment');
    assert.equal(beyond('0/200028'), null, 'a segment that is not there');
  });

  it('a fork between two pages: the next one must not be written', () => {
    written(1, parseLsn('0/144000'));
    assert.equal(beyond('0/144000'), null);
    written(1, parseLsn('0/144100'));
    assert.match(beyond('0/144000') ?? '', /beyond/);
  });

  it('what the background writer notes is not its own, and is taken away; anything with it or behind it stays', () => {
    const end = parseLsn('0/143A88');
    const file = join(data, 'pg_wal', segmentName(1, end, BigInt(SEGMENT_BYTES)));
    /** Records of that length, info and resource manager at the end. */
    const append = (...records: readonly (readonly [number, number, number])[]) => {
      written(1, end);
      const bytes = readFileSync(file);
      let at = Number(end % BigInt(SEGMENT_BYTES));
      for (const [length, info, manager] of records) {
        bytes.fill(9, at, at + length);
        bytes.writeUInt32LE(length, at);
        bytes.writeUInt8(info, at + 16);
        bytes.writeUInt8(manager, at + 17);
        at += Math.ceil(length / 8) * 8;
      }
      writeFileSync(file, bytes);
      return bytes;
    };
    const history = [{ timeline: 1, endLsn: end }];
    append([50, 0x10, 8], [66, 0x10, 8]);
    assert.equal(beyond('0/143A88'), null);
    assert.equal(cutSnapshots(data, history), true);
    const cut = readFileSync(file);
    written(1, end);
    assert.deepEqual(cut, readFileSync(file), 'as it was before');
    assert.equal(cutSnapshots(data, history), false);
    for (const records of [
      [[114, 0x00, 0]],
      [[50, 0x00, 8]],
      [
        [50, 0x10, 8],
        [114, 0x10, 0],
      ],
      [[5000, 0x10, 8]],
    ] as const) {
      const before = append(...records);
      assert.match(beyond('0/143A88') ?? '', /WAL beyond/);
      assert.equal(cutSnapshots(data, history), false);
      assert.deepEqual(readFileSync(file), before);
    }
  });

  it('another timeline than an ancestor of the primary is refused', () => {
    written(1, parseLsn('0/143A88'));
    written(2, parseLsn('0/243A88'));
    assert.match(beyond('0/143A88') ?? '', /its timeline 2 is none/);
    rmSync(join(data, 'pg_wal'), { recursive: true });
    mkdirSync(join(data, 'pg_wal'));
    assert.match(beyond('0/143A88') ?? '', /no WAL/);
  });
});
