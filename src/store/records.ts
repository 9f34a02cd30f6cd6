import type { Quorum } from '../cluster/synchrony.ts';
import type { Lsn } from '../core/lsn.ts';

/** What the store keeps, as the rest of the program sees it. */

/** Who was primary from when on. */
export type EpochRecord = {
  readonly epoch: number;
  readonly primary: string;
  readonly timeline: number;
  readonly systemId: string;
  /** Where this timeline left the one before; null for the first. */
  readonly forkLsn: Lsn | null;
  readonly reason?: string;
  /** Wall clock milliseconds. */
  readonly atMs: number;
};

/** Where acknowledged commits are, from when on. */
export type SynchronyRecord = {
  readonly epoch: number;
  /** Counts the changes within an epoch. */
  readonly version: number;
  readonly primary: string;
  readonly timeline: number;
  readonly guarantee: readonly Quorum[];
  /** Wall clock milliseconds. */
  readonly atMs: number;
};

/** One thing that happened, for people. `detail` is JSON: LSNs are text in it. */
export type NewEvent = {
  readonly kind: string;
  readonly message: string;
  readonly node: string | null;
  readonly detail: object;
  /** Wall clock milliseconds. */
  readonly atMs: number;
  /** Left out: the epoch in force now. */
  readonly epoch?: number | null;
};

export type StoredEvent = Omit<NewEvent, 'epoch'> & { readonly id: string; readonly epoch: number | null };

export type LagSample = {
  readonly node: string;
  /** Wall clock milliseconds. */
  readonly atMs: number;
  readonly lagBytes: number | null;
  readonly lagMs: number | null;
};
