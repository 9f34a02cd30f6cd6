import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { STATUS } from '../../../src/wire/message-type.ts';
import * as writer from '../../../src/wire/writer.ts';

/** Every message names its own length. */
function checked(bytes: Buffer): Buffer {
  assert.equal(bytes.readInt32BE(1), bytes.length - 1);
  return bytes;
}

describe('writer', () => {
  it('builds messages that name their own length', () => {
    for (const bytes of [
      writer.PARSE_COMPLETE,
      writer.SYNC,
      writer.NO_PARAMETERS,
      writer.PORTAL_SUSPENDED,
      writer.readyForQuery(STATUS.FAILED),
      writer.commandComplete('SELECT 1'),
      writer.backendKeyData(-1, Buffer.alloc(32)),
      writer.authenticationOk(),
      writer.authenticationSasl(['SCRAM-SHA-256']),
      writer.authenticationSaslContinue('r=x'),
      writer.errorResponse('ERROR', '42601', 'ä'),
      writer.noticeResponse('NOTICE', '00000', 'x', 'hint'),
      writer.query('SELECT 1'),
      writer.dataRow([]),
    ]) {
      checked(bytes);
    }
    assert.equal(writer.readyForQuery(STATUS.TRANSACTION).toString('latin1'), 'Z\0\0\0\x05T');
    assert.equal(writer.authenticationSasl(['A', 'B']).toString('latin1', 9), 'A\0B\0\0');
  });

  it('describes columns as text unless told otherwise', () => {
    const text = checked(writer.rowDescription(['a']));
    assert.equal(text.readUInt16BE(5), 1);
    const column = text.subarray(7 + 2);
    assert.equal(column.readInt32BE(6), 25);
    assert.equal(column.readInt16BE(10), -1);
    assert.equal(column.readInt16BE(16), 0);
    const number = checked(writer.rowDescription(['a'], ['int8'], [1])).subarray(9);
    assert.equal(number.readInt32BE(6), 20);
    assert.equal(number.readInt16BE(10), 8);
    assert.equal(number.readInt16BE(16), 1);
  });

  it('writes values as text, as bytes and as NULL', () => {
    const row = checked(writer.dataRow(['ä', Buffer.from([0, 255]), null]));
    assert.equal(row.toString('hex', 5), '0003' + '00000002c3a4' + '0000000200ff' + 'ffffffff');
  });

  it('puts hint and detail where they belong', () => {
    const text = writer.errorResponse('ERROR', '55000', 'no', 'do this', 'because').toString('utf8', 5);
    assert.equal(text, 'SERROR\0VERROR\0C55000\0Mno\0Dbecause\0Hdo this\0\0');
  });
});
