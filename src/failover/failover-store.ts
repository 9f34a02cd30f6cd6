import type { Lsn } from '../core/lsn.ts';

/** An epoch as it is kept on the primary, so that it replicates to whoever is promoted next. */
export type EpochRecord = {
  readonly epoch: number;
  readonly primary: string;
  readonly timeline: number;
  readonly systemId: string;
  /** Where this timeline left the one before; null for the first. */
  readonly forkLsn: Lsn | null;
  readonly reason: string;
  /** Wall clock milliseconds. */
  readonly atMs: number;
};

/** One thing that happened, for people. `detail` has text for LSNs and numbers for the rest: it is JSON. */
export type FailoverEvent = {
  readonly kind: string;
  readonly message: string;
  readonly node: string | null;
  readonly detail: object;
  /** Wall clock milliseconds. */
  readonly atMs: number;
};

/** What the controller needs of Fairlead's own tables. Every method may reject; the controller goes on without. */
export type FailoverStore = {
  /** The newest epoch that `node` has on record; null when it has none (or no schema). */
  latestEpoch(node: string): Promise<{ readonly epoch: number; readonly timeline: number } | null>;
  /** Wall clock milliseconds of the automatic promotions since `sinceMs` that `node` has on record; may have none of them. */
  recentPromotions(node: string, sinceMs: number): Promise<readonly number[]>;
  /** Writes to the assigned primary. Rejects when that fails now; it has to try again by itself. */
  recordEpoch(record: EpochRecord): Promise<void>;
  /** Keeps the event; while there is no primary it has to be kept until there is one. */
  recordEvent(event: FailoverEvent): Promise<void>;
};
