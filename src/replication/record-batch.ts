import type { CommitLog } from '../cluster/commit-log.ts';
import type { KeptRows } from '../cluster/kept-rows.ts';
import type { RecentCommits } from '../cluster/recent-commits.ts';
import type { TableFreshness } from '../cluster/table-freshness.ts';
import type { Lsn } from '../core/lsn.ts';
import { type CommitBatch, OPAQUE, ROWS_LEFT_OUT, UNTOLD } from './commit-batch.ts';
import type { DdlWatch } from './ddl-watch.ts';
import type { RelationNames } from './relation-names.ts';

/** The tables of the model that a batch is written to. */
export type CommitTables = {
  readonly commits: CommitLog;
  readonly freshness: TableFreshness;
  readonly recent: RecentCommits;
  readonly kept: KeptRows;
};

/**
 * Writes a batch into the model, in stream order.
 *
 * @param watch knows from where on DDL leaves marks, and is told of those and of commits that changed what nothing tells. Where nothing tells
 *   whether a commit changed the schema, it counts as a change of everything
 */
export function recordBatch(
  batch: CommitBatch,
  tables: CommitTables,
  names: RelationNames,
  watch: Pick<DdlWatch, 'markedFrom' | 'untold' | 'marked'>,
): void {
  const { markedFrom } = watch;
  const { commits, freshness, recent, kept } = tables;
  kept.receive(batch.rows);
  names.learn(batch.names, batch.firstName);
  let from = 0;
  let nextDdl = 0;
  for (let i = 0; i < batch.endLsns.length; i++) {
    const endLsn = batch.endLsns[i] as Lsn;
    const to = batch.tableEnds[i] as number;
    const commitMs = batch.commitMs[i] as number;
    commits.record(endLsn, commitMs);
    const flags = batch.flags[i] as number;
    const xid = batch.xids[i] as number;
    if ((flags & UNTOLD) !== 0) watch.untold(endLsn, xid);
    const oids: number[] = [];
    let ddl = false;
    let all = markedFrom === null || endLsn <= markedFrom || (flags & OPAQUE) !== 0;
    for (let mark = batch.ddl[nextDdl]; mark?.commit === i; mark = batch.ddl[++nextDdl]) {
      const marked = markedOids(mark.content);
      if (marked === null) all = true;
      else oids.push(...marked);
      // data only: names mean what they meant
      if (mark.content.startsWith('=')) continue;
      ddl = true;
      freshness.schemaChanged(xid);
      watch.marked();
      names.forget();
      freshness.forgetNames();
    }
    // also where all have changed: names are asked for here
    for (let t = from; t < to; t++) {
      const found = names.oidsOf(batch.tables[t] as number, endLsn);
      if (found === null) all = true;
      else for (const oid of found) oids.push(oid);
    }
    for (const oid of oids) freshness.touch(oid, endLsn);
    if (all) freshness.touchAll(endLsn);
    const named = names.named(batch.tables.subarray(from, to));
    kept.record(
      { endLsn, commitMs, xid, tables: named, ddl },
      batch.rowBytes[i] as number,
      (flags & ROWS_LEFT_OUT) !== 0,
    );
    recent.record({
      endLsn,
      commitMs,
      tables: named,
      oids: all ? null : oids,
      ...((flags & UNTOLD) === 0 ? {} : { untold: true }),
      ...((flags & OPAQUE) === 0 ? {} : { opaque: true }),
      xid,
    });
    from = to;
  }
}

/** A mark holds OIDs of relations, behind `=` or not, or `*`: then everything may have changed, and it is null. */
function markedOids(content: string): number[] | null {
  if (content === '=') return [];
  return /^=?\d+(,\d+)*$/.test(content) ? content.replace('=', '').split(',').map(Number) : null;
}
