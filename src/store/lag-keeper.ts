import type { Cluster } from '../cluster/cluster.ts';
import { wallMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { LagSample } from './records.ts';
import type { Store } from './store.ts';

const LOOK_MS = 1000;
const SAMPLE_MS = 10_000;
const WRITE_MS = 60_000;
/** Samples that wait for a primary; beyond, the oldest are dropped. */
const MAX_WAITING = 5000;

/** Keeps the history of lag: the worst of each ten seconds, written once a minute, so that an idle primary is not kept busy by it. */
export class LagKeeper {
  readonly #cluster: Cluster;
  readonly #store: Store;
  readonly #log: Log;
  readonly #worst = new Map<string, { lagMs: number; lagBytes: number }>();
  #waiting: LagSample[] = [];
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: Cluster, store: Store, log: Log) {
    this.#cluster = cluster;
    this.#store = store;
    this.#log = log;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Writes what waits. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#sample(wallMs());
    await this.#write();
  }

  #look(): void {
    for (const { name } of this.#cluster.nodes) {
      const lag = this.#cluster.lag(name);
      if (lag === null || name === this.#cluster.assignment.value.primary) continue;
      const worst = this.#worst.get(name);
      this.#worst.set(name, {
        lagMs: Math.max(lag.ms, worst?.lagMs ?? 0),
        lagBytes: Math.max(lag.bytes, worst?.lagBytes ?? 0),
      });
    }
    this.#looks++;
    if (this.#looks % (SAMPLE_MS / LOOK_MS) === 0) this.#sample(wallMs());
    if (this.#looks % (WRITE_MS / LOOK_MS) === 0) void this.#write();
  }

  #sample(atMs: number): void {
    for (const [node, worst] of this.#worst) this.#waiting.push({ node, atMs: Math.round(atMs), ...worst });
    this.#worst.clear();
    if (this.#waiting.length > MAX_WAITING) this.#waiting = this.#waiting.slice(-MAX_WAITING);
  }

  async #write(): Promise<void> {
    const samples = this.#waiting;
    this.#waiting = [];
    try {
      await this.#store.recordLagSamples(samples);
    } catch (error) {
      this.#waiting = [...samples, ...this.#waiting].slice(-MAX_WAITING);
      this.#log.debug({ error: messageOf(error) }, 'lag history is written later');
    }
  }
}
