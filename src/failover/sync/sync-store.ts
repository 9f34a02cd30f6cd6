import type { SynchronyRecord } from '../../store/records.ts';
import type { FailoverEvent } from '../failover-store.ts';

/** What the keeper needs of Fairlead's own tables. The record is in the WAL before everything that is acknowledged by it. */
export type SyncStore = {
  /** The newest record that `node` has; null when it has none. @throws when it does not answer */
  latestSynchrony(node: string): Promise<SynchronyRecord | null>;
  /** Writes both to the assigned primary, in one transaction. @throws when they are not durable there; then neither is kept */
  recordSynchrony(record: SynchronyRecord, event: FailoverEvent | null): Promise<void>;
};
