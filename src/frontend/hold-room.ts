import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';

/** How often this process notices that it is not standing still. */
const BEAT_MS = 100;

/** Somebody who can go on when the topology changes. */
export type Held = { topologyChanged(): void };

/** Sessions that are parked because there is no primary, it is in doubt who is, or traffic is paused. One subscription for all of them. */
export class HoldRoom {
  readonly #held = new Set<Held>();
  readonly #cluster: Cluster;
  #unsubscribe: (() => void) | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Sessions held now. */
  get size(): number {
    return this.#held.size;
  }

  start(): void {
    const topology = this.#cluster.topology.subscribe(() => this.look());
    const operator = this.#cluster.operator.subscribe(() => this.look());
    const vigil = this.#cluster.vigil.doubtedSinceMs.subscribe(() => this.look());
    const beat = setInterval(() => this.#cluster.vigil.beat(nowMs()), BEAT_MS).unref();
    this.#unsubscribe = () => {
      clearInterval(beat);
      topology();
      operator();
      vigil();
    };
  }

  /** Something has changed that they may wait for. */
  look(): void {
    const all = [...this.#held];
    this.#held.clear();
    for (const one of all) one.topologyChanged();
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#held.clear();
  }

  enter(one: Held): void {
    this.#held.add(one);
  }

  leave(one: Held): void {
    this.#held.delete(one);
  }
}
