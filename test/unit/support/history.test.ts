import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { check, type Guarantee, type Operation, type Read, type Write } from '../../support/history.ts';

let clock = 0;

function write(session: number, table: number, value: number, outcome: Write['outcome'] = 'ok'): Write {
  const startedMs = ++clock;
  return { kind: 'write', session, table, value, startedMs, endedMs: ++clock, outcome };
}

/** @param seen by table: counts of writers 1, 2, … */
function read(session: number, seen: Record<number, readonly number[]>, level: Read['level'] = 'session'): Read {
  const startedMs = ++clock;
  const tables = Object.entries(seen).map(
    ([table, values]) => [Number(table), new Map(values.map((value, i) => [i + 1, value] as const))] as const,
  );
  return { kind: 'read', session, level, startedMs, endedMs: ++clock, seen: new Map(tables) };
}

function found(operations: readonly Operation[]): Guarantee[] {
  return check(operations).map(({ guarantee }) => guarantee);
}

describe('the history checker', () => {
  it('finds nothing in what can be', () => {
    const history = [
      write(1, 0, 1),
      read(1, { 0: [1] }),
      write(1, 1, 1),
      read(2, { 0: [0], 1: [0] }),
      read(2, { 0: [1] }),
      write(1, 0, 2, 'unknown'),
      read(2, { 0: [2], 1: [1] }),
      read(1, { 0: [2], 1: [1] }, 'strong'),
      write(2, 0, 1, 'failed'),
      read(3, { 0: [2, 0], 1: [1, 0] }),
    ];
    assert.deepEqual(check(history), []);
  });

  it('finds a session that does not see what it wrote', () => {
    assert.deepEqual(found([write(1, 0, 1), write(1, 0, 2), read(1, { 0: [1] })]), ['read-your-writes']);
  });

  it('finds a session that goes back in time', () => {
    assert.deepEqual(found([write(1, 0, 1), read(2, { 0: [1] }), read(2, { 0: [0] })]), ['monotonic reads']);
    assert.deepEqual(
      found([write(1, 0, 1), read(2, { 0: [1] }), read(3, { 0: [0] })]),
      [],
      'another one may be behind',
    );
  });

  it('finds an effect before its cause, in one statement and in two', () => {
    const both = [write(1, 0, 1), write(1, 1, 1)];
    assert.deepEqual(found([...both, read(2, { 0: [0], 1: [1] })]), ['consistent prefix']);
    assert.deepEqual(found([...both, read(2, { 1: [1] }), read(2, { 0: [0] })]), ['consistent prefix']);
    const eventual = [...both, read(2, { 1: [1] }, 'eventual'), read(2, { 0: [0] }, 'eventual')];
    assert.deepEqual(found(eventual), [], 'which only binds who asked for it');
  });

  it('finds a strong read that misses what anybody was told', () => {
    assert.deepEqual(found([write(1, 0, 1), read(2, { 0: [0] }, 'strong')]), ['strong']);
    const during = read(2, { 0: [0] }, 'strong');
    assert.deepEqual(found([{ ...write(1, 0, 1), endedMs: during.startedMs + 0.5 }, during]), []);
  });

  it('finds what nobody wrote', () => {
    assert.deepEqual(found([write(1, 0, 1), read(2, { 0: [5] })]), ['no ghosts']);
  });
});
