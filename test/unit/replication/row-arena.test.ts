import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { messagesIn, RowArena } from '../../../src/replication/row-arena.ts';

const bytes = (text: string) => Buffer.from(text);
const texts = (pieces: readonly Uint8Array[]) =>
  pieces.flatMap((piece) => Array.from(messagesIn(piece), (message) => Buffer.from(message).toString()));

describe('rows copied out of the stream', () => {
  it('come back in order, across pieces, whatever becomes of the bytes they were copied from', () => {
    const arena = new RowArena(1e9);
    arena.begin();
    const wanted: string[] = [];
    const expected: string[] = [];
    for (let i = 0; i < 200; i++) {
      // some are larger than a piece
      const text = `${i}:${'x'.repeat(i % 50 === 7 ? 100_000 : i * 10)}`;
      const message = bytes(text);
      arena.append(message);
      message.fill(0);
      expected.push(text);
      if (i % 70 === 69) wanted.push(...texts(arena.take()));
    }
    wanted.push(...texts(arena.take()));
    assert.deepEqual(wanted, expected);
    assert.equal(
      arena.copiedBytes,
      expected.reduce((sum, text) => sum + text.length + 4, 0),
    );
    assert.deepEqual(arena.take(), []);
  });

  it('a transaction beyond the limit is left out, the next one is not', () => {
    const arena = new RowArena(100);
    arena.begin();
    arena.append(bytes('x'.repeat(60)));
    assert.equal(arena.leftOut, false);
    arena.append(bytes('x'.repeat(60)));
    arena.append(bytes('small'));
    assert.deepEqual([arena.leftOut, arena.copiedBytes], [true, 64]);
    arena.begin();
    arena.append(bytes('next'));
    assert.deepEqual([arena.leftOut, arena.copiedBytes], [false, 8]);
  });

  it('nothing is copied where nothing is kept', () => {
    const arena = new RowArena(0);
    arena.begin();
    arena.append(bytes('x'));
    assert.deepEqual([arena.take(), arena.copiedBytes, arena.leftOut], [[], 0, true]);
  });
});
