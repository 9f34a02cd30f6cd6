import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import type { ModelChange, Sample } from './messages.ts';

/** Probes that may be missed. */
const SILENT_PROBES = 3;

export type MirrorHost = {
  /** A sample of the primary's position that is started later. */
  sample(): Promise<Sample>;
  /** Somebody here waits until a replica has replayed this; zero: nobody does. */
  await(lsn: Lsn): void;
};

/** The model of another process, kept here: the only writer of this one. */
export class ModelMirror {
  readonly #cluster: Cluster;
  readonly #host: MirrorHost;
  #awaited: Lsn = LSN_ZERO;
  #sampling = false;
  #heardMs = nowMs();

  constructor(cluster: Cluster, host: MirrorHost) {
    this.#cluster = cluster;
    this.#host = host;
    cluster.waiters.onDemand(() => this.#tellAwaited());
    cluster.samples.onDemand(() => void this.#sample());
  }

  /** From now on replicas serve no reads while nothing is heard, and the primary no writes: nobody knows how far behind they are, and who is primary. Probes are heard of all the time. */
  watch({ probe_interval: intervalMs, probe_timeout: timeoutMs }: Config['cluster']): void {
    const look = () => {
      if (nowMs() - this.#heardMs > intervalMs * SILENT_PROBES + timeoutMs) this.#distrust();
    };
    // what came meanwhile is read first, when it is us who did nothing for long
    setInterval(() => setImmediate(look), intervalMs).unref();
  }

  #distrust(): void {
    const { nodes, observations, vigil } = this.#cluster;
    vigil.doubt(nowMs());
    for (const { name: node } of nodes) {
      const { last, failure } = observations.of(node);
      if (last === null || last.role === 'primary' || failure !== null) continue;
      const atMs = nowMs();
      const message = 'the control process of Fairlead does not tell how it is';
      observations.recordFailure({
        node,
        sequence: last.sequence,
        startedMs: atMs,
        finishedMs: atMs,
        kind: 'hung',
        message,
      });
    }
  }

  apply(changes: readonly ModelChange[]): void {
    this.#heardMs = nowMs();
    for (const change of changes) this.#write(change);
    this.#tellAwaited();
  }

  #write(change: ModelChange): void {
    const { assignment, operator, observations, commits, freshness } = this.#cluster;
    switch (change.kind) {
      case 'assignment':
        return assignment.set(Object.freeze(change.value));
      case 'operator':
        return operator.set(Object.freeze(change.value));
      case 'node':
        return observations.restore(change.node, change.record, change.trail);
      case 'seen':
        return observations.record(change.seen);
      case 'failed':
        return observations.recordFailure(change.failure);
      case 'position':
        return observations.advance(change.node, change.position);
      case 'commits': {
        const { endLsns, timesMs } = change;
        for (let i = 0; i < endLsns.length; i++) commits.record(endLsns[i] as Lsn, timesMs[i] as number);
        return;
      }
      case 'commits reset':
        return commits.reset();
      case 'freshness':
        for (const one of change.changes) freshness.apply(one);
        return;
      default:
        change satisfies never;
    }
  }

  #tellAwaited(): void {
    const { highest } = this.#cluster.waiters;
    if (highest === this.#awaited) return;
    this.#awaited = highest;
    this.#host.await(highest);
  }

  /** At most one is asked for; whoever comes meanwhile shares the next. */
  async #sample(): Promise<void> {
    const { samples } = this.#cluster;
    if (this.#sampling) return;
    this.#sampling = true;
    try {
      while (samples.wanted) {
        const index = samples.start();
        const { timeline, lsn } = await this.#host.sample();
        samples.complete(index, timeline, lsn);
      }
    } catch {
      // whoever could tell is gone, and this process is about to end
      samples.fail();
    } finally {
      this.#sampling = false;
    }
  }
}
