import { ControlConnection, type ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { LifeSigns } from '../cluster/life-signs.ts';
import type { Observation } from '../cluster/observation.ts';
import { Observations } from '../cluster/observations.ts';
import { membersOf, type NodeConfig } from '../config/config.ts';
import type { Log } from '../core/log.ts';
import { Prober } from './prober.ts';

export type NewcomersOptions = {
  readonly log: Log;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  target(node: NodeConfig): ControlTarget;
  /** Takes it into the cluster; it is not asked here any more. */
  join(node: NodeConfig): void;
  /** Why it has to wait; told again when that changes. */
  waits(node: NodeConfig, why: string): void;
};

type Newcomer = { readonly node: NodeConfig; readonly prober: Prober; readonly seen: Observations; why: string | null };

/**
 * Nodes that a reload brought. Nobody else knows of them before they are found to be replicas of this cluster: a second name of the primary
 * would be fenced as a second primary, and one that somebody promoted would be followed.
 */
export class Newcomers {
  readonly #cluster: Cluster;
  readonly #options: NewcomersOptions;
  /** Which run of its server joined, for as long as nobody else has asked that. */
  readonly #joined = new Map<string, number | undefined>();
  #waiting: Newcomer[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: Cluster, options: NewcomersOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** Those that are not there yet, in the place of those that were waited for before. */
  expect(nodes: readonly NodeConfig[]): void {
    this.#leave(() => true);
    // a subscriber is a cluster of its own, and its prober finds out what it has
    for (const node of nodes) {
      if (node.subscription !== undefined) this.#options.join(node);
      else this.#waiting.push(this.#newcomer(node));
    }
    if (this.#waiting.length === 0) return;
    this.#timer = setInterval(() => this.#look(), this.#options.intervalMs).unref();
    this.#look();
  }

  /** Names of those that are waited for. */
  get names(): readonly string[] {
    return this.#waiting.map(({ node }) => node.name);
  }

  stop(): void {
    this.#leave(() => true);
  }

  #newcomer(node: NodeConfig): Newcomer {
    const { log, timeoutMs, target } = this.#options;
    const seen = new Observations();
    const open = () => new ControlConnection(target(node), 'fairlead-probe');
    const own = { observations: seen, life: new LifeSigns() };
    return { node, seen, prober: new Prober(node.name, open, own, { timeoutMs, log }), why: null };
  }

  #leave(which: (newcomer: Newcomer) => boolean): void {
    for (const newcomer of this.#waiting) if (which(newcomer)) void newcomer.prober.stop();
    this.#waiting = this.#waiting.filter((newcomer) => !which(newcomer));
    if (this.#waiting.length === 0) clearInterval(this.#timer);
  }

  #look(): void {
    for (const newcomer of this.#waiting) void newcomer.prober.probe().then(() => this.#judge(newcomer));
  }

  #judge(newcomer: Newcomer): void {
    const { phase, primary } = this.#cluster.assignment.value;
    // nobody joins while the primary changes
    if (!this.#waiting.includes(newcomer) || phase !== 'steady' || primary === null) return;
    const { node, seen } = newcomer;
    const { last, failure } = seen.of(node.name);
    const why = failure === null && last !== null ? this.#obstacle(last) : `it does not answer: ${failure?.message}`;
    if (why === null) {
      this.#leave((one) => one === newcomer);
      this.#joined.set(node.name, last?.startedAt);
      this.#options.join(node);
    } else if (why !== newcomer.why) {
      newcomer.why = why;
      this.#options.waits(node, why);
    }
  }

  /** Why a node that answers cannot join; null when it can. */
  #obstacle(seen: Observation): string | null {
    const { observations, assignment, nodes } = this.#cluster;
    const { systemId, timeline, primary } = assignment.value;
    if (seen.systemId !== systemId) return 'it is of another cluster';
    const startedAt = (name: string) => observations.of(name).last?.startedAt ?? this.#joined.get(name);
    const same = membersOf(nodes).find(({ name }) => startedAt(name) === seen.startedAt);
    if (same !== undefined) return `it is the same server as ${same.name}`;
    if (seen.role === 'primary') return `it is a primary, and so is ${primary}: rebuild it as a replica`;
    if (seen.timeline !== timeline) return `it is on timeline ${seen.timeline}, and ${primary} on ${timeline}`;
    return null;
  }
}
