import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { joinAdjacent } from '../../../src/wire/adjacent.ts';
import { randomFrom } from '../../support/random.ts';

describe('joinAdjacent', () => {
  const chunk = Buffer.from('abcdefghij');
  const texts = (buffers: readonly Buffer[]) => joinAdjacent(buffers).map(String);

  it('joins neighbours, in whatever company', () => {
    const [ab, cd, ef, gh] = [0, 2, 4, 6].map((at) => chunk.subarray(at, at + 2)) as [Buffer, Buffer, Buffer, Buffer];
    const other = Buffer.from('X');
    assert.deepEqual(texts([ab, cd, ef]), ['abcdef']);
    assert.deepEqual(texts([ab, ef]), ['ab', 'ef']);
    assert.deepEqual(texts([other, ab, cd, other, ef, gh]), ['X', 'abcd', 'X', 'efgh']);
    assert.deepEqual(texts([ab, cd, other]), ['abcd', 'X']);
    assert.deepEqual(texts([cd, ab]), ['cd', 'ab']);
    assert.deepEqual(texts([ab]), ['ab']);
    assert.deepEqual(texts([]), []);
  });

  it('copies nothing', () => {
    const [joined] = joinAdjacent([chunk.subarray(0, 3), chunk.subarray(3, 5)]);
    assert.equal(joined?.buffer, chunk.buffer);
  });

  it('never changes what is said', () => {
    const random = randomFrom(5);
    for (let round = 0; round < 300; round++) {
      const buffers: Buffer[] = [];
      for (let at = 0; at < chunk.length; ) {
        const size = random.int(4);
        if (random.chance(0.8)) buffers.push(chunk.subarray(at, at + size));
        if (random.chance(0.2)) buffers.push(Buffer.from([65 + random.int(26)]));
        at += Math.max(1, size);
      }
      assert.deepEqual(Buffer.concat(joinAdjacent(buffers) as Buffer[]), Buffer.concat(buffers));
    }
  });
});
