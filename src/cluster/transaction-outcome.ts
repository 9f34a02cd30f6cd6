import type { Fork } from './assignment.ts';
import type { Incarnation, Incarnations } from './incarnations.ts';

/** What the primary says of a transaction id. */
export type Said = {
  readonly by: Incarnation;
  /** `pg_xact_status`; null: too old, or not asked; `beyond`: nothing with that id or a later one has ended there. */
  readonly status: 'committed' | 'aborted' | 'in progress' | 'beyond' | null;
};

export type TransactionOutcome = 'committed' | 'aborted' | 'in progress' | 'unknown';

/**
 * What became of a transaction, where that is certain. A server that crashed, or was promoted, gives out ids again that the one before it had given out
 * and that never reached the disk, or the replica: what it says counts only for ids that it cannot have given out itself. Pure.
 * @param life in which the transaction got its id
 */
export function transactionOutcome(
  xid: bigint,
  life: Incarnation,
  { by, status }: Said,
  forks: readonly Fork[],
  incarnations: Pick<Incarnations, 'follows' | 'isLast'>,
): TransactionOutcome {
  if (by === life) return status === 'beyond' ? 'in progress' : (status ?? 'unknown');
  const firstXid = firstOwnXid(life, by, forks, incarnations);
  // no transaction with that id has ended there, neither ours nor another
  if (status === 'beyond') return by.timeline > life.timeline || firstXid !== null ? 'aborted' : 'unknown';
  if (firstXid === null) return 'unknown';
  if (xid >= firstXid) return 'aborted';
  return status === 'committed' || status === 'aborted' ? status : 'unknown';
}

/** The first id that may have been given out once more; null: not known. */
function firstOwnXid(
  life: Incarnation,
  by: Incarnation,
  forks: readonly Fork[],
  incarnations: Pick<Incarnations, 'follows' | 'isLast'>,
): bigint | null {
  if (by.timeline === life.timeline) {
    const { beginning } = by;
    const restarted = by.node === life.node && beginning !== null && beginning.lsn >= life.lsn;
    return restarted && incarnations.follows(by, life) ? beginning.nextXid : null;
  }
  const path = forks.filter((fork) => fork.timeline > life.timeline && fork.timeline <= by.timeline);
  let timeline = life.timeline;
  for (const fork of path) {
    if (fork.parentTimeline !== timeline) return null;
    timeline = fork.timeline;
  }
  const first = path[0];
  if (first === undefined || timeline !== by.timeline || first.nextXid === undefined) return null;
  return incarnations.isLast(life) ? first.nextXid : null;
}
