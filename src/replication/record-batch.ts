import type { CommitLog } from '../cluster/commit-log.ts';
import type { RecentCommits } from '../cluster/recent-commits.ts';
import type { TableFreshness } from '../cluster/table-freshness.ts';
import type { Lsn } from '../core/lsn.ts';
import { type CommitBatch, OPAQUE } from './commit-batch.ts';
import type { RelationNames } from './relation-names.ts';

/** The tables of the model that a batch is written to. */
export type CommitTables = {
  readonly commits: CommitLog;
  readonly freshness: TableFreshness;
  readonly recent: RecentCommits;
};

/**
 * Writes a batch into the model, in stream order.
 *
 * @param ddlMarked false: nothing tells when a commit changed the schema, so each counts as a change of everything
 */
export function recordBatch(batch: CommitBatch, tables: CommitTables, names: RelationNames, ddlMarked: boolean): void {
  const { commits, freshness, recent } = tables;
  names.learn(batch.names, batch.firstName);
  let from = 0;
  let nextDdl = 0;
  for (let i = 0; i < batch.endLsns.length; i++) {
    const endLsn = batch.endLsns[i] as Lsn;
    const to = batch.tableEnds[i] as number;
    const commitMs = batch.commitMs[i] as number;
    commits.record(endLsn, commitMs);
    recent.record({ endLsn, commitMs, tables: names.named(batch.tables.subarray(from, to)) });
    let all = !ddlMarked || ((batch.flags[i] as number) & OPAQUE) !== 0;
    for (; batch.ddl[nextDdl]?.commit === i; nextDdl++) {
      all = !markDdl(batch.ddl[nextDdl]?.content as string, endLsn, freshness) || all;
      names.forget();
    }
    for (let t = from; t < to && !all; t++) {
      const oids = names.oidsOf(batch.tables[t] as number, endLsn);
      if (oids === null) all = true;
      else for (const oid of oids) freshness.touch(oid, endLsn);
    }
    if (all) freshness.touchAll(endLsn);
    from = to;
  }
}

/** A mark holds OIDs of relations, or `*`. @returns false when everything may have changed. */
function markDdl(content: string, endLsn: Lsn, freshness: TableFreshness): boolean {
  if (!/^\d+(,\d+)*$/.test(content)) return false;
  for (const oid of content.split(',')) freshness.touch(Number(oid), endLsn);
  return true;
}
