import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import type { Failure, Observation } from './observation.ts';

/** What is known of one node from probing it. */
export type NodeRecord = {
  /** The last answer, however old. */
  readonly last: Observation | null;
  /** The failure after the last answer, or null while the node answers. */
  readonly failure: Failure | null;
  /** Monotonic milliseconds when the unbroken row of failures began; null while the node answers. */
  readonly failingSinceMs: number | null;
};

/** Where a node was in the WAL, and when that was asked and answered (monotonic milliseconds of our clock). */
export type NodePosition = {
  readonly lsn: Lsn;
  readonly askedMs: number;
  readonly answeredMs: number;
  /** What it shows may be later than `lsn`, but not than this; left out: it is not. */
  readonly reachLsn?: Lsn;
};

const NOTHING: NodeRecord = Object.freeze({ last: null, failure: null, failingSinceMs: null });

/** Positions kept for each node: the newest and a few before, to compare two nodes at one instant. */
const TRAIL = 4;

/** Table of observations. The only writer is `monitor`. */
export class Observations {
  readonly #records = new Map<string, NodeRecord>();
  /** Newest first. */
  readonly #trails = new Map<string, NodePosition[]>();
  readonly #listeners = new Set<(node: string) => void>();
  readonly #advanceListeners = new Set<(node: string, lsn: Lsn) => void>();

  of(node: string): NodeRecord {
    return this.#records.get(node) ?? NOTHING;
  }

  /** The newest position: as fresh as the last probe, or fresher while somebody waits. */
  position(node: string): NodePosition | null {
    return this.#trails.get(node)?.[0] ?? null;
  }

  /** The newest positions, newest first. */
  positions(node: string): readonly NodePosition[] {
    return this.#trails.get(node) ?? [];
  }

  /** The newest position that was asked for not later than `atMs`; zero when none is kept. */
  lsnAt(node: string, atMs: number): Lsn {
    return this.#trails.get(node)?.find((p) => p.askedMs <= atMs)?.lsn ?? LSN_ZERO;
  }

  record(seen: Observation): void {
    const before = this.of(seen.node).last;
    this.#records.set(seen.node, Object.freeze({ last: Object.freeze(seen), failure: null, failingSinceMs: null }));
    // what another role, cluster or timeline told does not compare
    if (before?.role !== seen.role || before.systemId !== seen.systemId || before.timeline !== seen.timeline) {
      this.#trails.delete(seen.node);
    }
    this.#move(seen.node, {
      lsn: seen.replayLsn,
      askedMs: seen.startedMs,
      answeredMs: seen.finishedMs,
      ...(seen.subscription === undefined ? {} : { reachLsn: seen.subscription.reachLsn }),
    });
    for (const listener of this.#listeners) listener(seen.node);
  }

  recordFailure(failure: Failure): void {
    const before = this.of(failure.node);
    const failingSinceMs = before.failingSinceMs ?? before.last?.finishedMs ?? failure.startedMs;
    this.#records.set(
      failure.node,
      Object.freeze({ last: before.last, failure: Object.freeze(failure), failingSinceMs }),
    );
    for (const listener of this.#listeners) listener(failure.node);
  }

  /** All that is known of a node, as somebody else's table has it. @param trail newest first */
  restore(node: string, record: NodeRecord, trail: readonly NodePosition[]): void {
    this.#records.set(node, Object.freeze(record));
    this.#trails.set(node, [...trail]);
    for (const listener of this.#listeners) listener(node);
  }

  /** Between probes: a replica's replay position alone. Derives nothing; it happens a thousand times a second. */
  advance(node: string, position: NodePosition): void {
    this.#move(node, position);
    // not the position that came: a probe asked later may have answered before, and routing goes by what the table says
    const { lsn } = this.position(node) ?? position;
    for (const listener of this.#advanceListeners) listener(node, lsn);
  }

  /** @returns the function that unsubscribes. Listeners run synchronously after each record. */
  subscribe(listener: (node: string) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Calls the listener after each `advance`. @returns the function that unsubscribes. */
  onAdvance(listener: (node: string, lsn: Lsn) => void): () => void {
    this.#advanceListeners.add(listener);
    return () => {
      this.#advanceListeners.delete(listener);
    };
  }

  #move(node: string, position: NodePosition): void {
    const trail = this.#trails.get(node);
    if (trail === undefined) {
      this.#trails.set(node, [position]);
      return;
    }
    // a probe may answer after a faster question that was asked later
    if ((trail[0] as NodePosition).askedMs > position.askedMs) return;
    trail.unshift(position);
    if (trail.length > TRAIL) trail.pop();
  }
}
