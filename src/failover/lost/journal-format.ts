import type { RowChange } from '../../replication/row-change.ts';

/**
 * A journal of lost transactions: JSON Lines, a header and then one line for each transaction in the order of their commits. LSNs and
 * transaction ids are text.
 */
export const JOURNAL_FORMAT = 'fairlead lost transactions';
export const JOURNAL_VERSION = 1;

export type JournalHeader = {
  readonly format: typeof JOURNAL_FORMAT;
  readonly version: number;
  readonly systemId: string;
  readonly database: string;
  readonly epoch: number;
  /** The former primary, and whoever was promoted in its place. */
  readonly from: string | null;
  readonly to: string;
  readonly oldTimeline: number;
  readonly newTimeline: number;
  readonly forkLsn: string;
  /** Newest position of the former primary that anybody knew, and how far the logical stream had come. */
  readonly oldPrimaryLsn: string;
  readonly toldUntil: string;
  /** Transactions of the new primary have this id (64 bits) or a later one: a row version with an earlier one is from before the fork. */
  readonly firstXid: string;
  /** ISO 8601 */
  readonly at: string;
  readonly transactions: number;
  /** Not every transaction that ended before this is listed; null: all are that the stream told. */
  readonly listedFrom: string | null;
};

export type JournalTransaction = {
  readonly endLsn: string;
  /** ISO 8601, by the former primary's clock. */
  readonly commitTime: string;
  /** Of the old timeline, 32 bits. */
  readonly xid: number;
  /** As the server quotes them; none where there were too many to count. */
  readonly tables: readonly string[];
  /** It changed the schema; of that nothing is kept. */
  readonly ddl?: true;
  readonly rows: readonly RowChange[] | null;
  /** Why there are no rows. */
  readonly reason?: string;
};
