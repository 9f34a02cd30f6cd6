import type { Fork } from '../cluster/assignment.ts';
import { formatLsn, LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';

/** What one probe of a subscriber has found. */
export type Sighting = {
  /** OID; another one is another subscription, whatever its name. */
  readonly subscription: string;
  /** Of the assigned primary. */
  readonly timeline: number;
  readonly forks: readonly Fork[];
  /** Complete up to here. */
  readonly appliedLsn: Lsn;
  /** End of the last commit that it has applied. */
  readonly progressLsn: Lsn;
  /** The subscription has a worker, and somebody receives from its slot on the assigned primary. */
  readonly connected: boolean;
  /** Where that slot stands; null: there is none. */
  readonly confirmedLsn: Lsn | null;
};

/**
 * Whether a subscriber's content is a state of the assigned primary. After a failover it may have commits that the new primary does not have, or
 * lack some that the new primary's slot will not send any more; both can be seen only before it receives from there.
 */
export class Allegiance {
  #subscription: string | null = null;
  #timeline = 0;
  /** All that it is known to have of the timeline it followed. */
  #appliedLsn: Lsn = LSN_ZERO;
  /** Timeline that it was found fit to follow; 0: none. */
  #fit = 0;

  /** @returns why it may not be read; null: it follows the assigned primary and misses nothing of it */
  judge(sighting: Sighting): string | null {
    const { subscription, timeline, connected } = sighting;
    if (this.#subscription !== subscription) {
      this.#subscription = subscription;
      this.#timeline = 0;
      this.#fit = 0;
      this.#appliedLsn = LSN_ZERO;
    }
    // of what was before us nothing is known
    if (this.#timeline !== 0 && this.#timeline !== timeline) {
      const obstacle = this.#unfit(sighting);
      if (obstacle !== null) return obstacle;
    }
    if (!connected) return 'its subscription does not receive from the assigned primary';
    this.#timeline = timeline;
    this.#appliedLsn = maxLsn(this.#appliedLsn, sighting.appliedLsn);
    return null;
  }

  #unfit({ timeline, forks, progressLsn, connected, confirmedLsn }: Sighting): string | null {
    if (this.#fit === timeline) return null;
    const passed = forks.filter((fork) => fork.timeline > this.#timeline && fork.timeline <= timeline);
    const forkLsn = passed.reduce<Lsn | null>(
      (least, f) => (least === null || f.forkLsn < least ? f.forkLsn : least),
      null,
    );
    const remedy = 'create it anew';
    if (forkLsn === null || progressLsn > forkLsn) {
      const fork = forkLsn === null ? 'unknown' : formatLsn(forkLsn);
      return `its subscription has reached ${formatLsn(progressLsn)}, which may be on the timeline that was left at ${fork}: ${remedy}`;
    }
    if (connected) return `it was not seen whether its subscription missed anything at the failover: ${remedy}`;
    if (confirmedLsn === null) return 'its subscription has no slot on the assigned primary';
    const has = maxLsn(this.#appliedLsn, progressLsn);
    // what it was told of the old timeline beyond the fork says nothing of the new one
    if (confirmedLsn > (has < forkLsn ? has : forkLsn)) {
      return `its slot begins at ${formatLsn(confirmedLsn)}, later than what it has: ${remedy}`;
    }
    this.#fit = timeline;
    return null;
  }
}
