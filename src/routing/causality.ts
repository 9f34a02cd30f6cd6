import type { Fork } from '../cluster/assignment.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { formatLsn, LSN_ZERO, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import type { SharedWrites } from './causality-keys.ts';

/** Whoever knows which key the session has at the moment. */
export type Sharing = { readonly shared: SharedWrites | null };

/** timeline:LSN */
const TOKEN = /^(\d{1,10}):([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})$/;

/**
 * What a session has written or seen, as far as it is known: a floor for its next read. Positions after the session's last statement
 * are not asked for until a read needs them, and then one answer serves every session that waits.
 */
export class Causality {
  /** Timeline that `floor` belongs to; 0 while the floor is empty. */
  timeline = 0;
  /** A read must see everything up to here. */
  floor: Lsn = LSN_ZERO;
  /** Index of the sample of the primary that bounds what the session did there; 0 when it is in the floor. */
  pendingSample = 0;
  /** The replica last read, while the position of that read is not in the floor. */
  replica: string | null = null;
  /** Monotonic milliseconds when that read was answered. */
  replicaReadMs = 0;
  /** Its last acknowledged write: monotonic milliseconds, and the timeline it went to (0: none). */
  #wroteMs = 0;
  #wroteTimeline = 0;
  /** Set when a failover left part of what the session saw behind. Cleared by whoever tells the client. */
  lostAt: Fork | null = null;
  /** Ends the wait for the position that the session begins with; null: it is there. */
  #leaveBeginning: (() => void) | null = null;
  /** Where the writes of sessions with the same key are found, now. */
  readonly #sharing: Sharing | null;
  /** What of those is in `pendingSample` or in the floor. */
  #sharedSample = 0;

  constructor(sharing: Sharing | null = null) {
    this.#sharing = sharing;
  }

  /**
   * The session begins with what the cluster has now. The position is asked for at once and folded in when it is there: later it would hold
   * the session to what others wrote meanwhile.
   */
  begin(cluster: Cluster): void {
    const { samples, topology } = cluster;
    this.pendingSample = samples.next;
    this.#leaveBeginning = samples.wait(this.pendingSample, () => {
      this.#leaveBeginning = null;
      this.settle(cluster, topology.value.timeline);
    });
  }

  /** The session is over. */
  end(): void {
    this.#leaveBeginning?.();
    this.#leaveBeginning = null;
  }

  /** A statement was answered by the primary: all it may have written or seen lies below a sample started from now on. */
  ranOnPrimary(nextSample: number): void {
    this.pendingSample = nextSample;
    this.replica = null;
  }

  ranOnReplica(node: string, nowMs: number): void {
    this.replica = node;
    this.replicaReadMs = nowMs;
  }

  static isToken(text: string): boolean {
    return TOKEN.test(text);
  }

  /** Takes a token of another session: the floor rises to it. @throws RangeError when it is malformed. */
  adopt(token: string, forks: readonly Fork[]): void {
    const match = TOKEN.exec(token);
    if (match === null) throw new RangeError(`not a token: ${token}`);
    this.#raise(forks, Number(match[1]), parseLsn(match[2] as string));
  }

  /** Text for another session. Only complete when `settle` left nothing pending. */
  token(): string {
    return `${this.timeline}:${formatLsn(this.floor)}`;
  }

  /**
   * Brings the floor up to what is known and onto the current timeline.
   * @returns true when everything the session did is in the floor, save a read of `replica`.
   */
  settle(cluster: Cluster, timeline: number): boolean {
    const { samples } = cluster;
    const shared = this.#sharing?.shared?.sample ?? 0;
    if (shared > this.#sharedSample) {
      this.#sharedSample = shared;
      this.pendingSample = Math.max(this.pendingSample, shared);
    }
    if (this.pendingSample !== 0 && samples.completed >= this.pendingSample) {
      this.#raise(cluster.assignment.value.forks, samples.timeline, samples.lsn);
      this.pendingSample = 0;
    }
    this.translate(cluster.assignment.value.forks, timeline);
    return this.pendingSample === 0;
  }

  /** Folds the read of `replica` into the floor if it was asked for its position after the read was answered. */
  settleReplica(cluster: Cluster): boolean {
    if (this.replica === null) return true;
    const { last } = cluster.observations.of(this.replica);
    const position = cluster.observations.position(this.replica);
    if (last === null || position === null || position.askedMs < this.replicaReadMs) return false;
    // a subscriber that may follow somebody else tells no position of this cluster
    if (last.subscription !== undefined && last.subscription.obstacle !== null) return false;
    this.#raise(cluster.assignment.value.forks, last.timeline, position.reachLsn ?? position.lsn);
    this.replica = null;
    return true;
  }

  /** Positions beyond a fork do not exist on the new timeline: the floor falls back to the fork, and the loss is noted. */
  translate(forks: readonly Fork[], timeline: number): void {
    this.#doubt(forks, timeline);
    if (timeline <= this.timeline) return;
    if (this.timeline !== 0) this.floor = this.#along(forks, this.timeline, timeline, this.floor);
    this.timeline = timeline;
  }

  /** Everything up to a position must be seen, whichever of the two timelines is the newer. */
  #raise(forks: readonly Fork[], timeline: number, position: Lsn): void {
    this.translate(forks, timeline);
    this.floor = maxLsn(this.floor, this.#along(forks, timeline, this.timeline, position));
  }

  /** A write was acknowledged by the primary. */
  acknowledged({ assignment, topology, samples }: Cluster, atMs: number): void {
    const { timeline } = topology.value;
    this.#sharing?.shared?.written(samples.next);
    this.#doubt(assignment.value.forks, timeline);
    this.#wroteMs = atMs;
    this.#wroteTimeline = timeline;
  }

  /** Nothing may prove that the last write has survived the failovers since. */
  #doubt(forks: readonly Fork[], timeline: number): void {
    if (this.#wroteTimeline === 0 || timeline <= this.#wroteTimeline) return;
    const passed = forks.filter((fork) => fork.timeline > this.#wroteTimeline && fork.timeline <= timeline);
    const doubtful = passed.find((fork) => fork.provenUntilMs !== undefined && this.#wroteMs > fork.provenUntilMs);
    if (doubtful !== undefined) this.lostAt = doubtful;
    this.#wroteTimeline = 0;
  }

  #along(forks: readonly Fork[], from: number, to: number, position: Lsn): Lsn {
    let reached = position;
    for (const fork of forks) {
      if (fork.timeline <= from || fork.timeline > to || reached <= fork.forkLsn) continue;
      this.lostAt = fork;
      reached = fork.forkLsn;
    }
    return reached;
  }
}
