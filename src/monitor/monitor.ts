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
  readonly #options: MonitorOptions;
  readonly #targets = new Map<string, ControlTarget>();
  readonly #probers: (Prober | SubscriberProber)[] = [];
  readonly #pollers: ReplayPoller[] = [];
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
    this.#cluster = cluster;
    this.#options = options;
    this.#follows = config.failover.mode === 'follow';
    this.#intervalMs = config.cluster.probe_interval;
    this.#timeoutMs = config.cluster.probe_timeout;
    for (const node of cluster.nodes) this.#watch(node);
    this.#sampler = new PrimarySampler(cluster, this.#target, log);
    this.#pusher = new WalPusher(cluster, this.#target, log);
  }

  /** Asks these from now on as well. */
  add(nodes: readonly NodeConfig[]): void {
    for (const node of nodes) this.#watch(node);
    if (!this.#stopped) void this.probeNow();
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

  readonly #target = (node: string): ControlTarget => this.#targets.get(node) as ControlTarget;

  #watch(node: NodeConfig): void {
    const { name, subscription } = node;
    const { observations, waiters } = this.#cluster;
    const { log } = this.#options;
    this.#targets.set(name, this.#options.target(node));
    const rest = { timeoutMs: this.#timeoutMs, log };
    if (subscription !== undefined) {
      this.#probers.push(new SubscriberProber(name, subscription, this.#cluster, this.#target, rest));
    } else {
      const open = () => new ControlConnection(this.#target(name), 'fairlead-probe', () => this.#hurry());
      this.#probers.push(new Prober(name, open, this.#cluster, rest));
    }
    const question = subscription === undefined ? REPLAY_QUESTION : appliedQuestion(subscription);
    this.#pollers.push(new ReplayPoller(name, this.#target(name), observations, () => waiters.size > 0, question));
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
