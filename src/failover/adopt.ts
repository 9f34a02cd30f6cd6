import { formatLsn, type Lsn } from '../core/lsn.ts';
import { forkOf, type TimelineHistory } from './timeline-history.ts';

/** A node that answers as a primary, with the history it showed. */
export type Writable = {
  readonly name: string;
  readonly timeline: number;
  readonly flushLsn: Lsn;
  readonly history: TimelineHistory;
};

export type Adoption =
  | {
      readonly primary: Writable;
      /** Primaries of an ancestor timeline, with the reason why they need a rejoin. */
      readonly former: readonly { readonly node: string; readonly reason: string }[];
    }
  | { readonly primary: null; readonly reason: string };

/**
 * Which of the writable nodes is the primary: the one on the highest timeline, if its history says that every other's timeline is its
 * ancestor; the others were replaced and do not know it. Anything else is a split that only people can judge. Pure.
 *
 * @param replicaTimeline highest timeline among the replicas: a primary below it was replaced by one that does not answer now
 */
export function adopt(writable: readonly Writable[], replicaTimeline: number): Adoption {
  const [primary, ...others] = [...writable].sort((a, b) => b.timeline - a.timeline);
  if (primary === undefined) return { primary: null, reason: 'no primary answers' };
  if (replicaTimeline > primary.timeline) {
    return {
      primary: null,
      reason: `${primary.name} is writable on timeline ${primary.timeline}, but a replica is on timeline ${replicaTimeline}: ${primary.name} was replaced by a primary that does not answer`,
    };
  }
  const former: { node: string; reason: string }[] = [];
  for (const other of others) {
    const forkLsn = forkOf(primary.history, other.timeline);
    if (other.timeline === primary.timeline || forkLsn === null) {
      return {
        primary: null,
        reason: `${primary.name} (timeline ${primary.timeline}) and ${other.name} (timeline ${other.timeline}) are both writable, and neither descends from the other: stop the wrong one`,
      };
    }
    former.push({ node: other.name, reason: rejoinReason(other.timeline, primary.timeline, forkLsn, other.flushLsn) });
  }
  return { primary, former };
}

/** Why a former primary cannot be used as it is. */
export function rejoinReason(oldTimeline: number, newTimeline: number, forkLsn: Lsn, flushLsn: Lsn | null): string {
  const replaced = `was primary of timeline ${oldTimeline}, replaced by timeline ${newTimeline} at ${formatLsn(forkLsn)}`;
  if (flushLsn === null) return replaced;
  if (flushLsn <= forkLsn) return `${replaced}; it has no WAL beyond that`;
  return `${replaced}; its WAL from ${formatLsn(forkLsn)} to ${formatLsn(flushLsn)} is on no other node: pg_rewind or a new base backup`;
}
