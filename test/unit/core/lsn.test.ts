import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bytesBetween, endOfLastRecord, formatLsn, lsn, maxLsn, parseLsn } from '../../../src/core/lsn.ts';

describe('lsn', () => {
  it('reads and writes the text of pg_lsn', () => {
    for (const text of ['0/0', '0/16B3740', '16/B374D848', 'FFFFFFFF/FFFFFFFF', '1/0']) {
      assert.equal(formatLsn(parseLsn(text)), text);
    }
    assert.equal(parseLsn('1/0'), 2n ** 32n);
    assert.equal(parseLsn('a/0000000b'), parseLsn('A/B'));
  });

  it('refuses anything else', () => {
    for (const text of [
      '',
      '/',
      '0',
      '0/',
      '/0',
      '0/123456789',
      '123456789/0',
      '0x1/0',
      '-1/0',
      ' 0/0',
      '0/0 ',
      '0/G',
    ]) {
      assert.throws(() => parseLsn(text), RangeError, text);
    }
  });

  it('counts bytes, never below zero', () => {
    assert.equal(bytesBetween(parseLsn('0/FFFFFFFF'), parseLsn('1/1')), 2);
    assert.equal(bytesBetween(parseLsn('1/1'), parseLsn('0/FFFFFFFF')), 0);
    assert.equal(maxLsn(lsn(1n), lsn(2n)), 2n);
    assert.equal(maxLsn(lsn(2n), lsn(1n)), 2n);
  });

  it('takes the header of a page nobody has written to off an insert position', () => {
    const end = (text: string) => formatLsn(endOfLastRecord(parseLsn(text)));
    assert.equal(end('0/3002018'), '0/3002000'); // short header at a page boundary
    assert.equal(end('0/3000028'), '0/3000000'); // long header at a segment boundary
    assert.equal(end('0/3000018'), '0/3000000'); // cannot be, and is harmless
    assert.equal(end('0/3002028'), '0/3002028'); // a long header stands only at a segment's start
    assert.equal(end('0/3002020'), '0/3002020');
    assert.equal(formatLsn(endOfLastRecord(parseLsn('0/3004018'), 32_768)), '0/3004018');
  });
});
