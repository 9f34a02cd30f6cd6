/** Asks every node how it is and writes the answers into the model: the only writer of observations and of samples of the primary. */
import { ControlConnection, type ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { PrimarySampler } from './primary-sampler.ts';
import { Prober } from './prober.ts';
import { appliedQuestion, REPLAY_QUESTION, ReplayPoller } from './replay-poller.ts';
import { SubscriberProber } from './subscriber-prober.ts';
import { WalPusher } from './wal-pusher.ts';

/** How often questions that got no answer are looked for. */
const EXPIRY_MS = 100;
/** Probes out of turn come at this pace at most. */
const SEARCH_MS = 100;

export type MonitorOptions = {
  readonly config: Config;
  readonly log: Log;
  /** How to reach a node with the cluster's own role. */
  target(node: NodeConfig): ControlTarget;
};

export class Monitor {
  readonly #cluster: Cluster;
  readonly #follows: boolean;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #probers: readonly (Prober | SubscriberProber)[];
  readonly #pollers: readonly ReplayPoller[];
  readonly #sampler: PrimarySampler;
  readonly #pusher: WalPusher;
  #probeTimer: NodeJS.Timeout | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;
  #searchTimer: NodeJS.Timeout | undefined;
  #stopped = false;
  #hurriedMs = Number.NEGATIVE_INFINITY;
  #unsubscribe: () => void = () => {};

  constructor(cluster: Cluster, options: MonitorOptions) {
    const { config, log } = options;
    const { observations, waiters } = cluster;
    this.#cluster = cluster;
    this.#follows = config.failover.mode === 'follow';
    this.#intervalMs = config.cluster.probe_interval;
    this.#timeoutMs = config.cluster.probe_timeout;
    const targets = new Map(cluster.nodes.map((node) => [node.name, options.target(node)]));
    const target = (node: string) => targets.get(node) as ControlTarget;
    this.#probers = cluster.nodes.map(({ name, subscription }) => {
      const rest = { timeoutMs: this.#timeoutMs, log };
      if (subscription !== undefined) return new SubscriberProber(name, subscription, cluster, target, rest);
      const open = () => new ControlConnection(target(name), 'fairlead-probe', () => this.#hurry());
      return new Prober(name, open, cluster, rest);
    });
    this.#pollers = cluster.nodes.map(({ name, subscription }) => {
      const question = subscription === undefined ? REPLAY_QUESTION : appliedQuestion(subscription);
      return new ReplayPoller(name, target(name), observations, () => waiters.size > 0, question);
    });
    this.#sampler = new PrimarySampler(cluster, target, log);
    this.#pusher = new WalPusher(cluster, target, log);
  }

  start(): void {
    this.#cluster.waiters.onDemand(() => this.#wakePollers());
    this.#sampler.start();
    // all nodes at one instant: their positions compare best
    this.#probeTimer = setInterval(() => void this.probeNow(), this.#intervalMs);
    this.#expiryTimer = setInterval(() => this.#expire(), EXPIRY_MS).unref();
    if (this.#follows) this.#searchTimer = setInterval(() => this.#search(), SEARCH_MS).unref();
    this.#unsubscribe = this.#cluster.vigil.doubtedSinceMs.subscribe(() => void this.probeNow());
    void this.probeNow();
  }

  /** Probes all nodes at once, or joins the probes that are under way. Resolves when all have answered or failed. */
  async probeNow(): Promise<void> {
    await Promise.all(this.#probers.map((prober) => prober.probe()));
    this.#wakePollers();
  }

  async stop(): Promise<void> {
    clearInterval(this.#probeTimer);
    clearInterval(this.#expiryTimer);
    clearInterval(this.#searchTimer);
    this.#stopped = true;
    this.#unsubscribe();
    this.#cluster.waiters.onDemand(() => {});
    this.#sampler.stop();
    this.#pusher.stop();
    for (const poller of this.#pollers) poller.stop();
    await Promise.all(this.#probers.map((prober) => prober.stop()));
  }

  /** A server ended a connection: its role may change, and who else's may is asked at once. */
  #hurry(): void {
    if (this.#stopped || nowMs() - this.#hurriedMs < SEARCH_MS) return;
    this.#hurriedMs = nowMs();
    void this.probeNow();
  }

  /** Where somebody else promotes, whoever it is shall be found soon. */
  #search(): void {
    const { primary } = this.#cluster.assignment.value;
    if (primary === null || this.#cluster.observations.of(primary).failure !== null) this.#hurry();
  }

  #wakePollers(): void {
    if (this.#cluster.waiters.size === 0) return;
    for (const poller of this.#pollers) poller.wake();
    this.#pusher.wake();
  }

  #expire(): void {
    const beforeMs = nowMs() - this.#timeoutMs;
    this.#sampler.expire(beforeMs);
    this.#pusher.expire(beforeMs);
    for (const poller of this.#pollers) poller.expire(beforeMs);
  }
}
