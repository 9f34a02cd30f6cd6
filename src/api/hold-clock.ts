import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';
import type { SessionSource } from './sources.ts';

/** Why and since when statements wait for a primary or for an operator. */
export type Holding = {
  readonly why: 'no primary' | 'paused';
  readonly sessions: number;
  readonly forMs: number;
};

/** Notes when holding began: the topology says only that it holds. */
export class HoldClock {
  readonly #cluster: Cluster;
  readonly #sessions: SessionSource;
  #sinceMs: number | null = null;
  #unsubscribe: () => void = () => {};

  constructor(cluster: Cluster, sessions: SessionSource) {
    this.#cluster = cluster;
    this.#sessions = sessions;
  }

  start(): void {
    this.#note();
    this.#unsubscribe = this.#cluster.topology.subscribe(() => this.#note());
  }

  stop(): void {
    this.#unsubscribe();
  }

  get value(): Holding | null {
    if (this.#sinceMs === null) return null;
    return {
      why: this.#cluster.topology.value.paused ? 'paused' : 'no primary',
      sessions: this.#sessions.sessions().held,
      forMs: Math.round(nowMs() - this.#sinceMs),
    };
  }

  #note(): void {
    const { primary, paused } = this.#cluster.topology.value;
    if (primary !== null && !paused) this.#sinceMs = null;
    else this.#sinceMs ??= nowMs();
  }
}
