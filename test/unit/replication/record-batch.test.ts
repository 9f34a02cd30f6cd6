import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlConnection } from '../../../src/backend/control-connection.ts';
import { CommitLog } from '../../../src/cluster/commit-log.ts';
import { KeptRows } from '../../../src/cluster/kept-rows.ts';
import { RecentCommits } from '../../../src/cluster/recent-commits.ts';
import { TableFreshness } from '../../../src/cluster/table-freshness.ts';
import { LSN_ZERO, lsn } from '../../../src/core/lsn.ts';
import { BatchBuilder } from '../../../src/replication/commit-batch.ts';
import { recordBatch } from '../../../src/replication/record-batch.ts';
import { RelationNames } from '../../../src/replication/relation-names.ts';

/** Answers look-ups as the primary would: table t has OID 10 and is a partition of 9. */
function names(lookupLsn: string): RelationNames {
  const rows = [
    { name: 'public.t', oids: '10,9', names: ['public.t', 'public.root'], lsn: lookupLsn, snapshot: '1:1:' },
  ];
  return new RelationNames({ query: async () => rows } as unknown as ControlConnection, () => true);
}

const MARKED = { markedFrom: LSN_ZERO, untold() {}, marked() {} };

const commit = (tables: string[], ddl: string[] = []) => ({
  commitMs: 1000,
  xid: 700,
  opaque: false,
  untold: false,
  tables,
  ddl,
  rows: { copiedBytes: 0, leftOut: false },
});

describe('recording a batch of commits', () => {
  it('takes a table that is not known for all, until its name was looked up at an earlier position', async () => {
    const tables = {
      commits: new CommitLog(),
      freshness: new TableFreshness(),
      recent: new RecentCommits(),
      kept: new KeptRows(),
    };
    const known = names('0/200');
    const builder = new BatchBuilder();
    builder.add(0x100n, commit(['public.t']));
    recordBatch(builder.take(), tables, known, MARKED);
    assert.equal(tables.freshness.lastChange(77), 0x100n);
    await known.resolve();
    builder.add(0x180n, commit(['public.t']));
    recordBatch(builder.take(), tables, known, MARKED);
    assert.equal(tables.freshness.lastChange(77), 0x180n, 'at that time the name may have meant another table');
    builder.add(0x300n, commit(['public.t']));
    recordBatch(builder.take(), tables, known, MARKED);
    assert.equal(tables.freshness.lastChange(77), 0x180n);
    assert.equal(tables.freshness.lastChange(10), 0x300n);
    assert.equal(tables.freshness.lastChange(9), 0x300n, 'the root changes with its partition');
    assert.equal(tables.commits.newestLsn, 0x300n);
  });

  it('forgets names with a DDL mark, and touches what the mark says', async () => {
    const tables = {
      commits: new CommitLog(),
      freshness: new TableFreshness(),
      recent: new RecentCommits(),
      kept: new KeptRows(),
    };
    const known = names('0/1');
    const builder = new BatchBuilder();
    builder.add(0x100n, commit(['public.t']));
    recordBatch(builder.take(), tables, known, MARKED);
    await known.resolve();
    builder.add(0x200n, commit([], ['55']));
    builder.add(0x300n, commit(['public.t']));
    recordBatch(builder.take(), tables, known, MARKED);
    assert.equal(tables.freshness.lastChange(55), 0x300n);
    assert.equal(tables.freshness.lastChange(77), 0x300n, 'the name has to be looked up again');
    builder.add(0x400n, commit([], ['*']));
    recordBatch(builder.take(), tables, known, MARKED);
    assert.equal(tables.freshness.lastChange(77), 0x400n);
  });

  it('takes every commit for a change of everything where DDL leaves no marks', () => {
    const tables = {
      commits: new CommitLog(),
      freshness: new TableFreshness(),
      recent: new RecentCommits(),
      kept: new KeptRows(),
    };
    const builder = new BatchBuilder();
    builder.add(0x100n, commit([]));
    recordBatch(builder.take(), tables, names('0/1'), { ...MARKED, markedFrom: null });
    assert.equal(tables.freshness.lastChange(77), lsn(0x100n));
  });

  it('hands each name over once', () => {
    const builder = new BatchBuilder();
    builder.add(1n, commit(['a', 'b']));
    assert.deepEqual(builder.take().names, ['a', 'b']);
    builder.add(2n, commit(['b', 'c']));
    const batch = builder.take();
    assert.deepEqual(batch.names, ['c']);
    assert.equal(batch.firstName, 2);
    assert.deepEqual([...batch.tables], [1, 2]);
  });
});
