import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Queue } from '../../../src/core/queue.ts';

describe('Queue', () => {
  it('gives back in order, over its wrap and its growth', () => {
    const queue = new Queue<number>();
    let pushed = 0;
    let shifted = 0;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < (round % 7) + 3; i++) queue.push(pushed++);
      for (let i = 0; i < (round % 5) + 2; i++) assert.equal(queue.shift(), shifted++);
      assert.equal(queue.length, pushed - shifted);
      assert.equal(queue.peek(), shifted);
      assert.equal(queue.at(queue.length - 1), pushed - 1);
    }
    assert.deepEqual([...queue][0], shifted);
    assert.equal([...queue].length, pushed - shifted);
  });

  it('is empty at its start and after clear', () => {
    const queue = new Queue<string>();
    for (let round = 0; round < 2; round++) {
      assert.equal(queue.length, 0);
      assert.equal(queue.shift(), undefined);
      assert.equal(queue.peek(), undefined);
      assert.equal(queue.at(0), undefined);
      assert.equal(queue.at(-1), undefined);
      queue.push('a');
      queue.clear();
    }
  });

  it('removes one from anywhere and keeps the order, also when the items wrap', () => {
    for (let wrap = 0; wrap < 16; wrap++) {
      for (let gone = 0; gone < 12; gone++) {
        const queue = new Queue<number>();
        for (let i = 0; i < wrap; i++) queue.push(-1);
        for (let i = 0; i < wrap; i++) queue.shift();
        for (let i = 0; i < 12; i++) queue.push(i);
        assert.equal(queue.remove(gone), true);
        assert.equal(queue.remove(99), false);
        assert.deepEqual(
          [...queue],
          [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].filter((i) => i !== gone),
        );
      }
    }
  });
});
