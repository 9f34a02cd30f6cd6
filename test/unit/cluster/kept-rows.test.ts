import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeptRows } from '../../../src/cluster/kept-rows.ts';
import { lsn } from '../../../src/core/lsn.ts';

const commit = (end: number) => ({
  ...{ endLsn: lsn(BigInt(end)), commitMs: 0, xid: end, tables: ['public.t'], ddl: false },
});
const piece = (text: string) => new Uint8Array(Buffer.from(text));

function keptOf(budgetBytes = 1e6): KeptRows {
  const kept = new KeptRows();
  kept.budgetBytes = budgetBytes;
  return kept;
}

const read = (kept: KeptRows, after = 0) =>
  kept
    .after(lsn(BigInt(after)))
    .map(({ xid, rows }) => [xid, rows === null ? null : Buffer.concat(rows).toString()] as const);

describe('rows of commits that may be lost', () => {
  it('belong to their commit, however the pieces were cut', () => {
    const kept = keptOf();
    kept.receive([piece('aab'), piece('bbcc')]);
    kept.record(commit(10), 2, false);
    kept.record(commit(20), 3, false);
    // an open transaction: the rest comes with a later batch
    kept.receive([piece('cd')]);
    kept.record(commit(30), 3, false);
    kept.record(commit(40), 1, false);
    assert.deepEqual(read(kept), [
      [10, 'aa'],
      [20, 'bbb'],
      [30, 'ccc'],
      [40, 'd'],
    ]);
    assert.deepEqual(read(kept, 20), [
      [30, 'ccc'],
      [40, 'd'],
    ]);
  });

  it('are dropped when everybody has them', () => {
    const kept = keptOf();
    kept.receive([piece('abc')]);
    for (const end of [10, 20, 30]) kept.record(commit(end), 1, false);
    kept.release(lsn(20n));
    assert.deepEqual(read(kept), [[30, 'c']]);
    assert.equal(kept.keptFrom, 20n);
    kept.release(lsn(99n));
    assert.equal(kept.bytes, 0);
  });

  it('stay within the budget: the oldest go first', () => {
    const kept = keptOf(10_000);
    for (let end = 1; end <= 100; end++) {
      kept.receive([piece('x'.repeat(1000))]);
      kept.record(commit(end), 1000, false);
      assert.ok(kept.bytes <= 10_000);
    }
    const there = read(kept);
    assert.ok(there.length >= 5);
    assert.equal(there.at(-1)?.[0], 100);
    assert.equal(kept.keptFrom, BigInt(100 - there.length));
  });

  it('many tiny commits count for more than their rows', () => {
    const kept = keptOf(10_000);
    for (let end = 1; end <= 1000; end++) {
      kept.receive([piece('x')]);
      kept.record(commit(end), 1, false);
    }
    assert.ok(read(kept).length < 40);
  });

  it('a transaction that was too large is there without them, and what was copied of it is gone', () => {
    const kept = keptOf();
    kept.receive([piece('largeab')]);
    kept.record(commit(10), 5, true);
    kept.record(commit(20), 2, false);
    assert.deepEqual(read(kept), [
      [10, null],
      [20, 'ab'],
    ]);
  });

  it('commits that changed nothing are not kept, but DDL is', () => {
    const kept = keptOf();
    kept.record(commit(10), 0, false);
    kept.record({ ...commit(20), ddl: true }, 0, false);
    assert.deepEqual(read(kept), [[20, '']]);
  });

  it('nothing is kept without a budget', () => {
    const kept = keptOf(0);
    kept.record(commit(10), 0, true);
    assert.deepEqual(read(kept), []);
    assert.equal(kept.transactionBytes, 0);
  });

  it('after a gap of the stream, bytes of a transaction whose end was not told belong to nobody', () => {
    const kept = keptOf();
    kept.receive([piece('lost')]);
    kept.gap(lsn(50n));
    kept.receive([piece('new')]);
    kept.record(commit(60), 3, false);
    assert.deepEqual(read(kept), [[60, 'new']]);
    assert.equal(kept.keptFrom, 50n);
    kept.reset();
    assert.deepEqual([kept.bytes, kept.keptFrom], [0, 0n]);
  });
});
