import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Signal } from '../../../src/core/signal.ts';

describe('Signal', () => {
  it('tells its listeners in the order they came, with the value before', () => {
    const signal = new Signal(1);
    const told: string[] = [];
    signal.subscribe((value, previous) => told.push(`a ${previous}→${value}`));
    const stop = signal.subscribe((value) => told.push(`b ${value}`));
    signal.set(2);
    signal.set(2);
    stop();
    signal.set(3);
    assert.deepEqual(told, ['a 1→2', 'b 2', 'a 2→3']);
    assert.equal(signal.value, 3);
  });

  it('bears listeners that come and go while it tells', () => {
    const signal = new Signal(0);
    const told: string[] = [];
    const stop = signal.subscribe(() => {
      told.push('first');
      stop();
      signal.subscribe(() => told.push('late'));
    });
    signal.set(1);
    assert.deepEqual(told, ['first']);
    signal.set(2);
    assert.deepEqual(told, ['first', 'late']);
  });

  it('waits for a value', async () => {
    const signal = new Signal(1);
    assert.equal(await signal.when((v) => v === 1), 1);
    const later = signal.when((v) => v > 2);
    signal.set(2);
    signal.set(3);
    signal.set(4);
    assert.equal(await later, 3);
  });

  it('stops waiting when aborted, before or meanwhile', async () => {
    const signal = new Signal(1);
    const abort = new AbortController();
    const waiting = signal.when((v) => v === 9, abort.signal);
    abort.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(
      signal.when((v) => v === 9, abort.signal),
      /enough/,
    );
    assert.equal(await signal.when((v) => v === 1, abort.signal), 1);
  });
});
