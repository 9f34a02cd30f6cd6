import { OUTDATED } from '../backend/prepared-statement.ts';
import type { Batch } from './batch.ts';
import { queryEndsBatch, type Summary, type Work } from './work.ts';

/** Errors of a replica that the primary may not have: the statement runs there instead. */
const OF_REPLICA = new Set([
  '25006', // it writes after all
  '40001', // conflict with recovery
  '55000', // not possible during recovery
  ...['42P01', '42883', '42703', '42704', '3F000', '42501'], // DDL or a grant that has not arrived yet, or never does at a subscriber
]);

/** What we believe of the server connection is wrong; a plan is not outdated. */
const UNKNOWN_STATEMENT: ReadonlySet<string> = new Set(['26000', '42P05']);

/** What a standby says of itself: news for sessions that may write, not for those of the read-only port. */
const OF_STANDBY = new Set(['25006', '55000']);

type Refusable = (sqlState: string) => boolean;

const OUTDATED_HERE: Refusable = (sqlState) => OUTDATED.has(sqlState);
const UNKNOWN_HERE: Refusable = (sqlState) => UNKNOWN_STATEMENT.has(sqlState);
const REPLICA_OR_OUTDATED: Refusable = (sqlState) => OF_REPLICA.has(sqlState) || OUTDATED.has(sqlState);
const REPLICA_OR_UNKNOWN: Refusable = (sqlState) => OF_REPLICA.has(sqlState) || UNKNOWN_STATEMENT.has(sqlState);

/** Which errors are kept, by where a request runs and what its client relies on. Nothing is made up for it: it is asked for every shared read. */
export function sharedRefusable(onReplica: boolean, readOnlyPort: boolean, batch: Batch | null): Refusable | null {
  // who was told the types once must hear that they have changed
  const relies = batch !== null && batch.relied.length > 0;
  if (!onReplica) return batch === null ? null : relies ? UNKNOWN_HERE : OUTDATED_HERE;
  const refuses = relies ? REPLICA_OR_UNKNOWN : REPLICA_OR_OUTDATED;
  return readOnlyPort ? (sqlState) => !OF_STANDBY.has(sqlState) && refuses(sqlState) : refuses;
}

/**
 * Which errors are kept from the client for another try, as long as nothing was answered; null: none. Of a session that can go on on any
 * server connection.
 */
export function refusable(
  { onReplica, readOnlyPort }: { readonly onReplica: boolean; readonly readOnlyPort: boolean },
  summary: Summary,
  work: Work,
): Refusable | null {
  if (!(work.synced || work.describeOnly) || queryEndsBatch(work)) return null;
  const ofReplica = onReplica && summary.read && summary.class !== 'begin';
  // the server connection is given up by then, and on a fresh one the statements are right
  return ofReplica || work.losses === 0 ? sharedRefusable(ofReplica, readOnlyPort, work.batch) : null;
}
