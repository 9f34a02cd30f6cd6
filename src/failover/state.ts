/** What the controller remembers between two looks at the cluster, and what it may do next. All of it is frozen data. */
import type { Assignment, Fence, Fork, Phase } from '../cluster/assignment.ts';
import type { Lsn } from '../core/lsn.ts';
import type { Steps } from './laps.ts';
import type { TimelineHistory } from './timeline-history.ts';

/** Where a replica stood after it stopped receiving. */
export type Frozen = {
  readonly node: string;
  readonly timeline: number;
  /** Greater of received and replayed. */
  readonly receiveLsn: Lsn;
  readonly replayLsn: Lsn;
  readonly paused: boolean;
  /** It has replayed all that it received: what it has on record is all that it can know. */
  readonly complete: boolean;
  /** `receiveLsn` is all that it has; false: it may have more in its files, not replayed yet. */
  readonly exact: boolean;
};

/** One change of primary under way. */
export type Plan = {
  readonly kind: 'automatic' | 'forced' | 'planned';
  /** Whom it replaces; null when no primary was seen since the start. */
  readonly former: string | null;
  /** Where an operator wants it to go; null: the best. */
  readonly to: string | null;
  readonly startedMs: number;
  /** Newest position of the former primary that anybody knew when it was given up. */
  readonly newestLsn: Lsn;
  readonly frozen: readonly Frozen[];
  /** Candidates that failed to be promoted in this run, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
  /** Those that were to fetch what they lack and did not get it, with the reason. */
  readonly notForwarded?: ReadonlyMap<string, string>;
  /** An operator accepts that acknowledged commits may be missing. */
  readonly allowDataLoss?: boolean;
  /** Whoever is promoted has every acknowledged commit that waited for followers. */
  readonly proven?: boolean;
  /** What the steps before the promotion took. */
  readonly steps?: Steps;
};

/** Something that takes time; one at a time, and its outcome comes back with the next view. */
export type Work =
  | 'inspect'
  | 'validate'
  | 'freeze'
  | 'hand over'
  | 'fast-forward'
  | 'promote'
  | 'undo'
  | 'repoint'
  | 'thaw';

export type State = {
  readonly phase: Phase;
  readonly reason: string;
  /** When the phase was entered; monotonic milliseconds. */
  readonly sinceMs: number;
  /** Silence before this instant does not count: the start, or a time when we were not running ourselves. */
  readonly heardFromMs: number;
  readonly epoch: number;
  /** Highest epoch that was found in settings: some change began under it, by whatever run of Fairlead. */
  readonly markedEpoch: number;
  /** Whom writes go to; null: hold. */
  readonly primary: string | null;
  /** Whom writes went to last, or still go to; null when no primary was seen since the start. */
  readonly former: string | null;
  readonly timeline: number;
  readonly systemId: string | null;
  readonly fenced: ReadonlyMap<string, Fence>;
  readonly forks: readonly Fork[];
  readonly plan: Plan | null;
  readonly work: Work | null;
  /** Replicas that receive nothing because a run before stopped them, and that could not be turned back. */
  readonly stuck: ReadonlySet<string>;
  /** When a hook last kept a failover from going on; null: none did. */
  readonly vetoedMs: number | null;
  /** What is wrong with the primary although it lives, as it was told; null: nothing. */
  readonly trouble: string | null;
  /** When primaries were promoted automatically; against flapping. */
  readonly promotionsMs: readonly number[];
};

export const INITIAL: State = Object.freeze({
  phase: 'starting',
  reason: 'no primary seen yet',
  sinceMs: 0,
  heardFromMs: 0,
  epoch: 0,
  markedEpoch: 0,
  primary: null,
  former: null,
  timeline: 0,
  systemId: null,
  fenced: new Map(),
  forks: [],
  plan: null,
  work: null,
  stuck: new Set<string>(),
  vetoedMs: null,
  trouble: null,
  promotionsMs: [],
});

/** What an operator asked for. */
export type Request = {
  readonly kind: 'switchover' | 'failover';
  readonly to: string | null;
  readonly allowDataLoss?: boolean;
  /** How long transactions may take to end; left out: `TRANSACTIONS_MS`. */
  readonly waitMs?: number;
};

/** At a switchover transactions may end by themselves within this; what is left is ended. */
export const TRANSACTIONS_MS = 5000;

/** A commit of the old timeline that the new one does not have. */
export type UnprovenWrite = { readonly wallMs: number; readonly tables: readonly string[]; readonly client: string };
export type LostCommit = { readonly endLsn: Lsn; readonly commitMs: number; readonly tables: readonly string[] };

export type Outcome =
  | {
      readonly work: 'inspect';
      readonly histories: ReadonlyMap<string, TimelineHistory>;
      /** Newest epoch in the store of each node, where it has one. */
      readonly recorded: ReadonlyMap<string, { readonly epoch: number; readonly timeline: number }>;
      /** When primaries were promoted automatically in the time of earlier runs; monotonic milliseconds of our clock. */
      readonly promotionsMs: readonly number[];
    }
  | { readonly work: 'validate'; readonly refused: string | null }
  | {
      readonly work: 'freeze';
      readonly frozen: readonly Frozen[];
      /** Why the primary is not given up after all; null: it is. */
      readonly alive: string | null;
      /** Why it is not certain that the old primary is off, where a hook has to make it so; left out: none has. */
      readonly unfenced?: string | null;
    }
  | {
      readonly work: 'hand over';
      readonly frozen: readonly Frozen[];
      readonly newestLsn: Lsn;
      readonly steps?: Steps;
      /** Null when the old primary stands still and the target has everything. */
      readonly refused: string | null;
      /** It was an operator who gave it up. */
      readonly cancelled?: boolean;
    }
  | {
      readonly work: 'fast-forward';
      readonly node: string;
      readonly source: string;
      /** Where it stands now; null: not known, but not behind where it was. */
      readonly frozen: Frozen | null;
      /** Null: it has everything that `source` has. */
      readonly refused: string | null;
    }
  | {
      readonly work: 'promote';
      readonly node: string;
      readonly timeline: number;
      readonly parentTimeline: number;
      readonly forkLsn: Lsn;
      readonly lostCommits: readonly LostCommit[];
      /** File that they are being written to, with their rows. */
      readonly journal?: string | null;
      readonly steps?: Steps;
      /** Acknowledged through us, and nothing proves that they survived. */
      readonly unproven?: readonly UnprovenWrite[];
      readonly provenUntilMs?: number;
      /** No transaction with this id, or a later one, had ended when it was promoted. */
      readonly nextXid?: bigint;
      readonly refused: null;
    }
  | {
      readonly work: 'promote';
      readonly node: string;
      readonly refused: string;
      /** It may have become a primary all the same: it must never be used. */
      readonly uncertain: boolean;
      /** When the server that was told was started, seconds since 1970; null where that is not known. */
      readonly toldRun?: number | null;
    }
  /** Null: the old primary takes writes again. */
  | { readonly work: 'undo'; readonly problem: string | null }
  | { readonly work: 'repoint'; readonly problems: ReadonlyMap<string, string> }
  | { readonly work: 'thaw'; readonly problems: ReadonlyMap<string, string> };

export type Action =
  // work
  | {
      readonly kind: 'inspect';
      readonly nodes: readonly string[];
      /** The one that is fenced and will be adopted: it takes writes again before anybody sends it one. */
      readonly lift?: string;
    }
  | { readonly kind: 'validate'; readonly from: string | null; readonly to: string | null; readonly reason: string }
  | {
      readonly kind: 'freeze';
      readonly nodes: readonly string[];
      readonly former: string | null;
      readonly force: boolean;
    }
  | {
      readonly kind: 'hand over';
      readonly from: string;
      readonly to: string;
      readonly epoch: number;
      readonly waitMs: number;
    }
  | {
      readonly kind: 'fast-forward';
      readonly node: string;
      readonly source: string;
      /** Where `source` stands. */
      readonly lsn: Lsn;
      readonly limitMs: number;
    }
  | { readonly kind: 'promote'; readonly node: string; readonly timeline: number; readonly receiveLsn: Lsn }
  /** Takes a hand-over back that is complete: `from` is to take writes, the others are to follow it. */
  | { readonly kind: 'undo'; readonly from: string; readonly target: string | null }
  | {
      readonly kind: 'repoint';
      readonly nodes: readonly string[];
      readonly primary: string;
      /** Will follow as well: its slot is not a leftover. */
      readonly demoted: string | null;
    }
  /** Null: those that this run froze. */
  | { readonly kind: 'thaw'; readonly nodes: readonly string[] | null }
  // chores: idempotent, asked for again as long as they are needed
  | { readonly kind: 'fence'; readonly node: string; readonly epoch: number }
  | { readonly kind: 'lift'; readonly node: string }
  | { readonly kind: 'mend'; readonly node: string; readonly primary: string }
  | { readonly kind: 'rejoin'; readonly node: string; readonly primary: string; readonly reason: string }
  // told at once
  /** An agent makes the old primary a follower. It goes on by itself. */
  | { readonly kind: 'demote'; readonly node: string; readonly primary: string }
  | { readonly kind: 'record epoch'; readonly from: string | null }
  | { readonly kind: 'event'; readonly name: string; readonly message: string; readonly detail: object }
  | { readonly kind: 'refuse'; readonly reason: string }
  | { readonly kind: 'answer' };

export type Decision = { readonly state: State; readonly actions: readonly Action[] };

/** The decided part, as the rest of the program sees it. */
export function assignmentOf(state: State): Assignment {
  const { epoch, primary, timeline, systemId, phase, reason, fenced, forks } = state;
  const { plan } = state;
  const handingOver = plan?.kind === 'planned' && phase === 'fencing' ? plan.former : null;
  return Object.freeze({ epoch, primary, timeline, systemId, phase, reason, fenced, forks, handingOver });
}
