import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AcknowledgedWrites } from '../../../src/cluster/acknowledged-writes.ts';
import { provenUntil } from '../../../src/cluster/proven-until.ts';
import { lsn } from '../../../src/core/lsn.ts';

const asked = (position: bigint, askedMs: number) => ({ lsn: lsn(position), askedMs, answeredMs: askedMs + 1 });
const commit = (endLsn: bigint, commitMs: number) => ({ endLsn: lsn(endLsn), commitMs, tables: [], oids: null });
const ownMs = (commitMs: number) => commitMs - 1000;

describe('until when acknowledged writes are proven', () => {
  const fork = lsn(100n);

  it('goes by the last position that was asked for and survived', () => {
    const positions = [asked(120n, 50), asked(100n, 40), asked(80n, 30)];
    assert.equal(provenUntil(fork, { asked: positions, commits: [], ownMs }), 40);
  });

  it('goes by the last commit that survived, short of the error of the clocks', () => {
    const commits = [commit(90n, 1060), commit(99n, 1070), commit(101n, 1080)];
    assert.equal(provenUntil(fork, { asked: [asked(80n, 30)], commits, ownMs }), 60);
  });

  it('proves nothing where nothing survived', () => {
    assert.equal(provenUntil(fork, { asked: [asked(101n, 50)], commits: [commit(101n, 1080)], ownMs }), -Infinity);
  });

  it('keeps the newest writes in order', () => {
    const writes = new AcknowledgedWrites(3);
    for (let atMs = 1; atMs <= 5; atMs++) writes.record({ atMs, verdicts: [], client: 'c' });
    assert.deepEqual(
      writes.after(3).map((write) => write.atMs),
      [4, 5],
    );
    assert.equal(writes.after(-Infinity).length, 3);
  });
});
