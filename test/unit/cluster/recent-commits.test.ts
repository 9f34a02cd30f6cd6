import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecentCommits } from '../../../src/cluster/recent-commits.ts';
import { lsn } from '../../../src/core/lsn.ts';

const commit = (end: number) => ({ endLsn: lsn(BigInt(end)), commitMs: end, tables: ['t1'], oids: null });
const ends = (recent: RecentCommits, after: number) => recent.after(lsn(BigInt(after))).map((c) => Number(c.endLsn));

describe('recent commits', () => {
  it('tells those after a position, oldest first', () => {
    const recent = new RecentCommits();
    for (const end of [10, 20, 30]) recent.record(commit(end));
    assert.deepEqual(ends(recent, 10), [20, 30]);
    assert.deepEqual(ends(recent, 30), []);
  });

  it('keeps the newest when it is full', () => {
    const recent = new RecentCommits(3);
    for (let end = 1; end <= 8; end++) recent.record(commit(end));
    assert.deepEqual(ends(recent, 0), [6, 7, 8]);
  });

  it('forgets on reset', () => {
    const recent = new RecentCommits(3);
    for (let end = 1; end <= 5; end++) recent.record(commit(end));
    recent.reset();
    recent.record(commit(9));
    assert.deepEqual(ends(recent, 0), [9]);
  });
});
