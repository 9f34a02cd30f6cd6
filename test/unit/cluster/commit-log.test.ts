import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CommitLog } from '../../../src/cluster/commit-log.ts';
import { LSN_ZERO, lsn } from '../../../src/core/lsn.ts';

describe('commit log', () => {
  it('tells the time of the oldest commit after a position', () => {
    const log = new CommitLog();
    log.record(lsn(100n), 1000);
    log.record(lsn(200n), 2000);
    log.record(lsn(300n), 3000);
    assert.equal(log.oldestAfter(lsn(99n)), 1000);
    assert.equal(log.oldestAfter(lsn(100n)), 2000);
    assert.equal(log.oldestAfter(lsn(250n)), 3000);
    assert.equal(log.oldestAfter(lsn(300n)), null);
    assert.equal(log.commits, 3);
  });

  it('ignores a commit that it knows', () => {
    const log = new CommitLog();
    log.record(lsn(200n), 2000);
    log.record(lsn(200n), 5000);
    log.record(lsn(100n), 5000);
    assert.equal(log.commits, 1);
    assert.equal(log.newestLsn, 200n);
  });

  it('keeps the oldest time of commits that share a millisecond', () => {
    const log = new CommitLog();
    log.record(lsn(100n), 1000);
    log.record(lsn(110n), 1000.5);
    log.record(lsn(120n), 999.9);
    assert.equal(log.oldestAfter(lsn(105n)), 1000);
    assert.equal(log.oldestAfter(lsn(119n)), 1000);
  });

  it('does not hide commits behind a clock that was set back', () => {
    const log = new CommitLog();
    log.record(lsn(100n), 9_000_000);
    log.record(lsn(200n), 1000);
    log.record(lsn(300n), 2000);
    assert.equal(log.oldestAfter(lsn(100n)), 1000);
    assert.equal(log.oldestAfter(lsn(200n)), 2000);
  });

  it('reaches back to the first commit when it is full, only more coarsely', () => {
    const log = new CommitLog(8192);
    for (let i = 1; i <= 100_000; i++) log.record(lsn(BigInt(i * 10)), i * 10);
    assert.equal(log.oldestAfter(LSN_ZERO), 10);
    assert.equal(log.oldestAfter(lsn(999_990n)), 1_000_000);
    for (const position of [1000n, 20_000n, 500_000n, 900_000n, 990_000n]) {
      const exactMs = 1_000_000 - (Number(position) + 10);
      const toldMs = 1_000_000 - (log.oldestAfter(lsn(position)) as number);
      assert.ok(toldMs >= exactMs, 'lag never reads too small');
      assert.ok(toldMs - exactMs <= exactMs * 0.006 + 10, `${toldMs} is near ${exactMs}`);
    }
  });

  it('tells the newest commit at an instant', () => {
    const log = new CommitLog();
    log.record(lsn(100n), 1000);
    log.record(lsn(200n), 2000);
    assert.equal(log.newestAt(999), LSN_ZERO);
    assert.equal(log.newestAt(1500), 100n);
    assert.equal(log.newestAt(2000), 200n);
  });

  it('forgets', () => {
    const log = new CommitLog();
    log.record(lsn(100n), 1000);
    log.reset();
    assert.equal(log.oldestAfter(LSN_ZERO), null);
    log.record(lsn(50n), 2000);
    assert.equal(log.oldestAfter(LSN_ZERO), 2000);
  });
});
