import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Backoff } from '../../../src/core/backoff.ts';

describe('Backoff', () => {
  it('begins at the minimum, doubles its ceiling and never leaves its bounds', () => {
    const backoff = new Backoff(10, 100);
    for (let round = 0; round < 50; round++) {
      assert.equal(backoff.next(), 10);
      for (let i = 1; i < 10; i++) {
        const delayMs = backoff.next();
        assert.ok(delayMs >= 10 && delayMs <= Math.min(100, 10 * 2 ** i), `${delayMs} at try ${i}`);
      }
      backoff.reset();
    }
  });

  it('spreads', () => {
    const backoff = new Backoff(0, 1000);
    assert.equal(backoff.next(), 0);
    const wide = new Backoff(1, 1000);
    for (let i = 0; i < 20; i++) wide.next();
    const delays = new Set(Array.from({ length: 20 }, () => wide.next()));
    assert.ok(delays.size > 10);
  });
});
