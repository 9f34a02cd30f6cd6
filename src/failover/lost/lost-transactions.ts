import type { Cluster } from '../../cluster/cluster.ts';
import type { KeptCommit } from '../../cluster/kept-rows.ts';
import type { Lsn } from '../../core/lsn.ts';

export type LostTransactions = {
  /** In the order of their commits. Those without rows have a reason instead. */
  readonly transactions: readonly (KeptCommit & { readonly reason: string | null })[];
  /** Not every transaction that ended before this is there; null: all are that the stream told. */
  readonly listedFrom: Lsn | null;
};

/** Fairlead's own tables: what is missing there it writes again. */
const OWN = /^fairlead\./;

/** What changed something after `forkLsn`: with its rows where they were kept, with its tables where they are remembered. */
export function lostTransactions({ kept, recent }: Pick<Cluster, 'kept' | 'recent'>, forkLsn: Lsn): LostTransactions {
  const withRows = kept.after(forkLsn).map((commit) => ({
    ...commit,
    reason: commit.rows === null ? 'it has more rows than are kept of one transaction (failover.keep_rows)' : null,
  }));
  const known = new Set(withRows.map(({ endLsn }) => endLsn));
  const withoutRows = recent
    .after(forkLsn)
    // what is not kept though everything is kept from there on changed no rows
    .filter(({ endLsn }) => endLsn <= kept.keptFrom && !known.has(endLsn))
    .filter(({ tables, opaque }) => opaque === true || tables.some((name) => !OWN.test(name)))
    .map(({ endLsn, commitMs, xid = 0, tables }) => ({
      ...{ endLsn, commitMs, xid, tables, ddl: false, rows: null },
      reason: 'its rows were given up for those of later ones (failover.keep_rows)',
    }));
  const from = kept.keptFrom < recent.completeFrom ? kept.keptFrom : recent.completeFrom;
  const transactions = [...withoutRows, ...withRows].sort((a, b) => (a.endLsn < b.endLsn ? -1 : 1));
  return { transactions, listedFrom: from > forkLsn ? from : null };
}
