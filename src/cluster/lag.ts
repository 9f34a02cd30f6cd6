import { bytesBetween, type Lsn } from '../core/lsn.ts';
import type { CommitLog } from './commit-log.ts';

/** How far a replica is behind the primary. */
export type Lag = {
  /** Bytes of WAL between the primary's newest known position and the replica's replay position. */
  readonly bytes: number;
  /** Age of the oldest commit it has not replayed, in milliseconds; 0 when there is none. */
  readonly ms: number;
};

/**
 * @param primaryLsn the primary's position when the replica was asked for its own
 * @param primaryNowMs the primary's wall clock at that instant, estimated from our own
 */
export function lagOf(replayLsn: Lsn, primaryLsn: Lsn, commits: CommitLog, primaryNowMs: number): Lag {
  const oldestMs = commits.oldestAfter(replayLsn);
  return {
    bytes: bytesBetween(replayLsn, primaryLsn),
    ms: oldestMs === null ? 0 : Math.max(0, primaryNowMs - oldestMs),
  };
}
