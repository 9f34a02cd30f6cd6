import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeCell, spreadFormats } from '../../../src/console/table.ts';

describe('encodeCell', () => {
  it('writes text as PostgreSQL would', () => {
    assert.equal(encodeCell('a', 'text', 0), 'a');
    assert.equal(encodeCell(12.7, 'int8', 0), '12');
    assert.equal(encodeCell(-1, 'int8', 0), '-1');
    assert.equal(encodeCell(2n ** 62n, 'int8', 0), '4611686018427387904');
    assert.equal(encodeCell(0.25, 'float8', 0), '0.25');
    assert.equal(encodeCell(null, 'int8', 0), null);
  });

  it('writes binary, big-endian', () => {
    const hex = (value: string | Buffer | null) => (value as Buffer).toString('hex');
    assert.equal(hex(encodeCell(258, 'int8', 1)), '0000000000000102');
    assert.equal(hex(encodeCell(-1.5, 'int8', 1)), 'ffffffffffffffff');
    assert.equal(hex(encodeCell(1.9995, 'float8', 1)), doubleHex(1.9995));
    assert.equal(encodeCell('a', 'text', 1), 'a');
    assert.equal(encodeCell(null, 'float8', 1), null);
  });
});

function doubleHex(value: number): string {
  return Buffer.from(new Float64Array([value]).buffer)
    .reverse()
    .toString('hex');
}

describe('spreadFormats', () => {
  it('gives every column a format', () => {
    assert.deepEqual(spreadFormats([], 2), [0, 0]);
    assert.deepEqual(spreadFormats([1], 2), [1, 1]);
    assert.deepEqual(spreadFormats([0, 1], 2), [0, 1]);
  });
});
