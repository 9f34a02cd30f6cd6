import type { Cluster } from '../cluster/cluster.ts';
import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import type { ModelChange, Sample } from './messages.ts';

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

  constructor(cluster: Cluster, host: MirrorHost) {
    this.#cluster = cluster;
    this.#host = host;
    cluster.waiters.onDemand(() => this.#tellAwaited());
    cluster.samples.onDemand(() => void this.#sample());
  }

  apply(changes: readonly ModelChange[]): void {
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
