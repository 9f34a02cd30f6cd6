import type { Lsn } from '../core/lsn.ts';
import type { CommitPosition } from './commit-log.ts';
import type { NodePosition } from './observations.ts';

/** Commit times are the primary's clock; our estimate of its offset is exact to half a round trip, and this is more. */
const CLOCK_MARGIN_MS = 10;

/** What is known of a primary that was left. */
export type Traces = {
  /** Positions it was asked for, newest first. */
  readonly asked: readonly NodePosition[];
  /** Its newest commits as the stream told them, oldest first. */
  readonly commits: readonly CommitPosition[];
  /** A commit time of its clock as monotonic milliseconds of ours. */
  ownMs(commitMs: number): number;
};

/**
 * The instant (monotonic milliseconds) before which every write that was acknowledged lies below `forkLsn`, and so has survived: its
 * record ended before a position that was asked for later, or before the record of a commit that began later, and those survived.
 * -Infinity when nothing proves anything.
 */
export function provenUntil(forkLsn: Lsn, traces: Traces): number {
  let provenMs = Number.NEGATIVE_INFINITY;
  for (const { lsn, askedMs } of traces.asked) {
    if (lsn <= forkLsn) provenMs = Math.max(provenMs, askedMs);
  }
  for (const { endLsn, commitMs } of traces.commits) {
    if (endLsn <= forkLsn) provenMs = Math.max(provenMs, traces.ownMs(commitMs) - CLOCK_MARGIN_MS);
  }
  return provenMs;
}
