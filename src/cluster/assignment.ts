import type { Lsn } from '../core/lsn.ts';

/** Phases of the failover controller; `failover/phases.ts` has the table of allowed moves. */
export type Phase = 'starting' | 'steady' | 'suspect' | 'fencing' | 'electing' | 'promoting' | 'repointing' | 'halted';

/** A former primary that must not be used before it is rejoined. */
export type Fence = {
  readonly sinceEpoch: number;
  readonly reason: string;
  /**
   * Of one that was told to promote and lost: when its server was started, seconds since 1970. Started again, and a replica, it was not
   * promoted.
   */
  readonly toldRun?: number;
  /** How often that has happened to it. */
  readonly losses?: number;
  /** Somebody has been the primary since. */
  readonly overtaken?: boolean;
};

/** Where the current timeline left the one before, and with which epoch. Tokens are translated along these. */
export type Fork = {
  readonly timeline: number;
  readonly parentTimeline: number;
  readonly forkLsn: Lsn;
  readonly epoch: number;
  /** Monotonic milliseconds: writes that were acknowledged before have survived; left out where that is all of them. */
  readonly provenUntilMs?: number;
  /** Transaction ids from here on the new timeline has given out itself: whoever had them before has not committed on it. Left out: not known. */
  readonly nextXid?: bigint;
};

/** Decided, as opposed to observed: who is primary. Frozen; replaced, never edited. */
export type Assignment = {
  /** Rises by one with every failover and switchover; never falls. */
  readonly epoch: number;
  /** The node that writes go to, or null while there is none (held sessions wait). */
  readonly primary: string | null;
  /** Timeline the primary writes on; 0 when unknown. */
  readonly timeline: number;
  /** System identifier of the cluster; null until the first primary was seen. */
  readonly systemId: string | null;
  readonly phase: Phase;
  /** One sentence for people: why this phase. */
  readonly reason: string;
  readonly fenced: ReadonlyMap<string, Fence>;
  /** During a planned switchover: the old primary, whose open transactions may still end. Nobody else may be written to. */
  readonly handingOver: string | null;
  readonly forks: readonly Fork[];
};

export const UNASSIGNED: Assignment = Object.freeze({
  epoch: 0,
  primary: null,
  timeline: 0,
  systemId: null,
  phase: 'starting',
  reason: 'no primary seen yet',
  fenced: new Map(),
  handingOver: null,
  forks: [],
});
