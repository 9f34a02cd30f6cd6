/**
 * The model in the middle: what was observed, what was decided, what the stream told. Every table has exactly one writer;
 * lag and topology are derived from the tables, never written by hand.
 */
import type { NodeConfig } from '../config/config.ts';
import type { LagLimit } from '../config/units.ts';
import { nowMs, wallMsOf } from '../core/clock.ts';
import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import { Signal } from '../core/signal.ts';
import { AcknowledgedWrites } from './acknowledged-writes.ts';
import { type Assignment, UNASSIGNED } from './assignment.ts';
import { CommitLog } from './commit-log.ts';
import { deriveTopology, sameTopology } from './derive-topology.ts';
import { Incarnations } from './incarnations.ts';
import { KeptRows } from './kept-rows.ts';
import { type Lag, lagOf } from './lag.ts';
import { LifeSigns } from './life-signs.ts';
import { LsnWaiters } from './lsn-waiters.ts';
import { Observations } from './observations.ts';
import { NO_INTENT, type OperatorIntent } from './operator.ts';
import { PrimarySamples } from './primary-samples.ts';
import { provenUntil } from './proven-until.ts';
import { ReadAudit } from './read-audit.ts';
import { receivedByAll } from './received-by-all.ts';
import { RecentCommits } from './recent-commits.ts';
import { Steadiness } from './steadiness.ts';
import type { Synchrony } from './synchrony.ts';
import { TableFreshness } from './table-freshness.ts';
import type { Topology } from './topology.ts';
import { Vigil } from './vigil.ts';

export class Cluster {
  /** Writer: monitor. */
  readonly observations = new Observations();
  /** Writers: monitor and replication. */
  readonly life = new LifeSigns();
  /** Writer: monitor. */
  readonly samples = new PrimarySamples();
  /** Writer: replication, from the stream or, where there is none, from the probes of the primary. */
  readonly commits = new CommitLog();
  /** Writer: replication; read when a failover names what was lost. */
  readonly recent = new RecentCommits();
  /** Writer: replication; read when a failover writes down what was lost. */
  readonly kept = new KeptRows();
  /** Writer: frontend. */
  readonly acknowledged = new AcknowledgedWrites();
  /** Writer: replication. */
  readonly freshness = new TableFreshness();
  /** Writer: frontend. */
  readonly audit = new ReadAudit(this.recent, this.freshness);
  /** Writer: frontend. */
  readonly incarnations = new Incarnations();
  /** Writer: failover. */
  readonly assignment = new Signal<Assignment>(UNASSIGNED);
  /** Writer: failover; null where synchronous replication is not Fairlead's. */
  readonly synchrony = new Signal<Synchrony | null>(null);
  /** Writers: api and console. */
  readonly operator = new Signal<OperatorIntent>(NO_INTENT);
  readonly waiters = new LsnWaiters();
  /** Of this process. */
  readonly vigil = new Vigil();
  readonly #steadiness = new Steadiness();
  /** Derived. */
  readonly topology: Signal<Topology>;
  #nodes: readonly NodeConfig[];
  #maxLag: LagLimit;
  /** The primary, or while there is none the last one. */
  #measuredBy: string | null = null;

  constructor(nodes: readonly NodeConfig[], maxLag: LagLimit) {
    this.#nodes = nodes;
    this.#maxLag = maxLag;
    this.topology = new Signal(deriveTopology(this.#input(), null));
    this.observations.subscribe((node) => this.#observed(node));
    this.observations.onAdvance((_node, replayLsn) => this.waiters.advance(replayLsn));
    this.freshness.onTold((asOf) => this.waiters.told(asOf));
    this.assignment.subscribe(() => this.#derive());
    this.operator.subscribe(() => this.#derive());
  }

  /** A node keeps its place (`TopologyNode.index`) as long as the process runs. */
  get nodes(): readonly NodeConfig[] {
    return this.#nodes;
  }

  /** Takes in further ones, behind the others. */
  add(nodes: readonly NodeConfig[]): void {
    this.#nodes = [...this.#nodes, ...nodes];
    this.#derive();
  }

  get maxLag(): LagLimit {
    return this.#maxLag;
  }

  /** A new limit from a reloaded configuration. */
  setMaxLag(limit: LagLimit): void {
    this.#maxLag = limit;
    this.#derive();
  }

  /** Replay position of a replica as of the newest answer, probe or faster; the insert position for a primary. */
  replayLsn(node: string): Lsn {
    return this.observations.position(node)?.lsn ?? LSN_ZERO;
  }

  /** Newest position of the primary that anybody told us. */
  primaryLsn(): Lsn {
    const { timeline } = this.assignment.value;
    const primary = this.assignment.value.primary ?? this.#measuredBy;
    if (primary === null) return LSN_ZERO;
    const probed = this.replayLsn(primary);
    const sampled = this.samples.timeline === timeline ? this.samples.lsn : LSN_ZERO;
    return maxLsn(maxLsn(probed, sampled), this.commits.newestLsn);
  }

  /**
   * Lag of a replica as of its last answer (as of now while it does not answer); null when it was never seen or there is no primary
   * to compare with. Both sides are taken at the instant of the answer: a replica that replays at once has no lag, however rarely
   * it is asked.
   */
  lag(node: string): Lag | null {
    const { last, failure } = this.observations.of(node);
    const position = this.observations.position(node);
    // while nobody is primary, replicas are measured by the one that was
    this.#measuredBy = this.assignment.value.primary ?? this.#measuredBy;
    const primary = this.#measuredBy;
    if (last === null || position === null || primary === null) return null;
    if (node === primary) return { bytes: 0, ms: 0 };
    const clockOffsetMs = this.observations.of(primary).last?.clockOffsetMs ?? 0;
    const atMs = failure === null ? position.askedMs : nowMs();
    const primaryAtMs = wallMsOf(atMs) + clockOffsetMs;
    const primaryLsn =
      failure === null
        ? maxLsn(this.observations.lsnAt(primary, position.answeredMs), this.commits.newestAt(primaryAtMs))
        : this.primaryLsn();
    return lagOf(position.lsn, primaryLsn, this.commits, primaryAtMs);
  }

  /** What every replica has received that may be promoted. */
  receivedByAll(): Lsn {
    return receivedByAll(this.#nodes, this.assignment.value, (node) => this.observations.of(node).last);
  }

  /** How far the logical stream is behind the primary, milliseconds, as of the primary's last answer; Infinity when that is not known. */
  toldLagMs(): number {
    const { primary, timeline } = this.assignment.value;
    const { asOf } = this.freshness;
    if (primary === null || this.freshness.timeline !== timeline) return Number.POSITIVE_INFINITY;
    let newest = true;
    let reachedMs = Number.NEGATIVE_INFINITY;
    for (const positions of [this.observations.positions(primary), this.samples.asked]) {
      for (const { lsn, askedMs } of positions) {
        if (lsn <= asOf) reachedMs = Math.max(reachedMs, askedMs);
        else newest = false;
      }
    }
    return newest && reachedMs > 0 ? 0 : nowMs() - reachedMs;
  }

  /** Until when what the former primary acknowledged has survived on a timeline that left it at `forkLsn`; monotonic milliseconds. */
  provenUntil(former: string, forkLsn: Lsn): number {
    const clockOffsetMs = this.observations.of(former).last?.clockOffsetMs ?? 0;
    return provenUntil(forkLsn, {
      asked: [...this.observations.positions(former), ...this.samples.asked],
      commits: this.recent.after(LSN_ZERO),
      ownMs: (commitMs) => commitMs - clockOffsetMs - wallMsOf(0),
    });
  }

  /** Milliseconds since the node last answered; Infinity when it never did. */
  silentMs(node: string): number {
    const seen = this.observations.of(node).last;
    return seen === null ? Number.POSITIVE_INFINITY : nowMs() - seen.finishedMs;
  }

  #observed(node: string): void {
    const record = this.observations.of(node);
    this.#steadiness.observed(node, record);
    this.#derive();
    const { last, failure } = record;
    const { primary, timeline } = this.assignment.value;
    if (failure === null && last?.role === 'primary' && node === primary && last.timeline === timeline) {
      this.vigil.confirm(last.startedMs);
    }
    if (failure === null && last !== null && last.role !== 'primary') this.waiters.advance(this.replayLsn(node));
  }

  #derive(): void {
    const before = this.topology.value;
    const next = deriveTopology(this.#input(), before);
    if (sameTopology(before, next)) return;
    this.topology.set(next);
    this.waiters.wakeAll();
  }

  #input() {
    return {
      nodes: this.#nodes,
      assignment: this.assignment.value,
      operator: this.operator.value,
      maxLag: this.#maxLag,
      record: (node: string) => this.observations.of(node),
      lag: (node: string) => this.lag(node),
      life: (node: string) => this.life.of(node),
      doubt: (node: string) => this.#steadiness.doubt(node, nowMs()),
    };
  }
}
