import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readDataRow, readErrorFields, readParameterStatus, stringEnd } from '../../../src/wire/fields.ts';
import { cstrings, dataRow, errorResponse, message, parameterStatus } from '../../../src/wire/writer.ts';

/** The message with other bytes around it: readers keep to their range. */
function amid(bytes: Buffer): readonly [Buffer, number, number] {
  return [Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yy\0')]), 2, 2 + bytes.length];
}

describe('fields', () => {
  it('finds the end of a string inside its range only', () => {
    const bytes = Buffer.from('ab\0cd\0');
    assert.equal(stringEnd(bytes, 0, 6), 2);
    assert.equal(stringEnd(bytes, 3, 6), 5);
    assert.equal(stringEnd(bytes, 3, 5), -1);
    assert.equal(stringEnd(bytes, 6, 6), -1);
  });

  it('reads errors; the severity in English counts', () => {
    const fields = readErrorFields(...amid(errorResponse('FATAL', '57P03', 'höre auf', 'hint', 'detail')));
    assert.deepEqual(fields, { severity: 'FATAL', sqlState: '57P03', message: 'höre auf', detail: 'detail' });
    const localized = message(0x45, cstrings('SFEHLER', 'VERROR', 'C42601', 'Mx', ''));
    assert.equal(readErrorFields(...amid(localized)).severity, 'ERROR');
    const old = message(0x45, cstrings('SERROR', 'C42601', ''));
    assert.deepEqual(readErrorFields(...amid(old)), { severity: 'ERROR', sqlState: '42601', message: '', detail: '' });
  });

  it('reads as much of a truncated error as there is', () => {
    const whole = errorResponse('ERROR', '42601', 'text');
    for (let size = 5; size <= whole.length; size++) {
      const fields = readErrorFields(whole.subarray(0, size), 0, size);
      assert.ok(fields.sqlState === '' || fields.sqlState === '42601');
    }
  });

  it('reads parameters and rows', () => {
    assert.deepEqual(readParameterStatus(...amid(parameterStatus('TimeZone', 'Ä/B'))), ['TimeZone', 'Ä/B']);
    assert.deepEqual(readParameterStatus(...amid(message(0x53, Buffer.from('x')))), ['', '']);
    const [buffer, start] = amid(dataRow(['a', null, '', 'ö']));
    assert.deepEqual(readDataRow(buffer, start), ['a', null, '', 'ö']);
  });
});
