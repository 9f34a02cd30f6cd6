import type { StoredEvent } from '../store/records.ts';
import type { ClusterEvent, LostWal } from './sources.ts';

/** An event as the store keeps it, with what a failover or switchover cost taken out of its detail. */
export function clusterEventOf(stored: StoredEvent): ClusterEvent {
  const { id, atMs, kind, epoch, node, message } = stored;
  const details = stored.detail as Readonly<Record<string, unknown>>;
  // the assignment's epoch is set after the event is told, the detail's is the one it belongs to
  const own = typeof details.epoch === 'number' ? details.epoch : epoch;
  return { id, atMs, kind, epoch: own, node, message, lost: lostOf(details), details };
}

function lostOf({
  lostBytes,
  lostCommitCount,
  unprovenWriteCount,
  forkLsn,
  oldPrimaryLsn,
}: Readonly<Record<string, unknown>>): LostWal | null {
  if (typeof lostBytes !== 'number') return null;
  return {
    bytes: lostBytes,
    commits: typeof lostCommitCount === 'number' ? lostCommitCount : null,
    unproven: typeof unprovenWriteCount === 'number' ? unprovenWriteCount : 0,
    fromLsn: typeof forkLsn === 'string' ? forkLsn : null,
    toLsn: typeof oldPrimaryLsn === 'string' ? oldPrimaryLsn : null,
  };
}
