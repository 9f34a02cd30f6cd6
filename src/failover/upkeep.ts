import type { Cluster } from '../cluster/cluster.ts';
import { type Config, followsOthers, membersOf } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Chronicle } from './chronicle.ts';
import type { ControlNodes } from './control-nodes.ts';
import type { Effects } from './effects.ts';
import type { Hooks } from './hooks.ts';
import { type ReceiverSettings, tuneReceiver } from './receiver-settings.ts';
import type { Action, State } from './state.ts';
import { prepareFollower } from './sync/follower-settings.ts';
import type { SyncKeeper } from './sync/sync-keeper.ts';

type Chore = Extract<Action, { kind: 'fence' | 'lift' | 'mend' | 'rejoin' }>;

export type UpkeepDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  readonly nodes: ControlNodes;
  readonly effects: Effects;
  readonly chronicle: Chronicle;
  readonly keeper: SyncKeeper | null;
  readonly hooks: Hooks;
};

/** How often the control connections are used, so that a broken one is noticed before it is needed. */
const ROUND_MS = 5000;
/** A chore that failed, or did not help, is tried again after this. */
const AGAIN_MS = 5000;
/** A program that makes a replica of a former primary takes its time, and what it began may go on after its end. */
const REJOIN_AGAIN_MS = 60_000;
/** The round starts this soon, and looks this often for nodes that it has not seen yet. */
const EARLY_MS = 250;

/**
 * What is done in quiet times: keeps a control connection to every node open, sets the replicas' receivers so that their testimony is
 * worth something, and runs chores, one per node at a time.
 */
export class Upkeep {
  readonly #deps: UpkeepDeps;
  readonly #settings = new Map<string, ReceiverSettings>();
  /** Chore and node → not before. */
  readonly #notBeforeMs = new Map<string, number>();
  readonly #visitedMs = new Map<string, number>();
  readonly #told = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #busy = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#round(), EARLY_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#deps.nodes.close();
    await Promise.allSettled(this.#running);
  }

  receiverTimeoutMs(node: string): number | null {
    return this.#settings.get(node)?.timeoutMs ?? null;
  }

  chore(action: Chore, state: State): void {
    const key = `${action.kind} ${action.node}`;
    if (this.#busy.has(action.node) || nowMs() < (this.#notBeforeMs.get(key) ?? 0)) return;
    this.#notBeforeMs.set(key, nowMs() + AGAIN_MS);
    this.#run(action.node, async () => {
      try {
        await this.#do(action, state);
      } catch (error) {
        this.#tellOnce(
          key,
          `${action.kind}-failed`,
          `cannot ${action.kind} ${action.node}: ${messageOf(error)}`,
          action.node,
        );
      } finally {
        this.#notBeforeMs.set(key, nowMs() + (action.kind === 'rejoin' ? REJOIN_AGAIN_MS : AGAIN_MS));
      }
    });
  }

  async #do(action: Chore, state: State): Promise<void> {
    const { effects, chronicle } = this.#deps;
    const detail = { node: action.node };
    switch (action.kind) {
      case 'fence':
        await effects.fence(action);
        chronicle.event('fence-set', `${action.node} is read-only and has no client sessions`, detail);
        return;
      case 'lift': {
        if (await effects.lift(action, state))
          return chronicle.event('fence-lifted', `${action.node} may write again`, detail);
        const readOnly = this.#deps.cluster.observations.of(action.node).last?.readOnly === true;
        if (state.primary !== action.node || !readOnly) return;
        const message = `${action.node} is the primary, but default_transaction_read_only is on there, and not by Fairlead`;
        return this.#tellOnce(`read-only ${action.node}`, 'read-only', message, action.node);
      }
      case 'mend': {
        const done = await effects.mend(action, state);
        if (done !== null) chronicle.event('repointed', done, detail);
        return;
      }
      case 'rejoin': {
        const { node, primary, reason } = action;
        chronicle.event('rejoining', `${node} is made to follow ${primary} by hooks.rejoin`, detail);
        const problem = await this.#deps.hooks.run('rejoin', { event: 'rejoin', node, to: primary, reason });
        if (problem !== null) chronicle.event('rejoin-failed', `hooks.rejoin for ${node}: ${problem}`, detail);
        return;
      }
      default:
        action satisfies never;
    }
  }

  #round(): void {
    const { cluster } = this.#deps;
    if (cluster.assignment.value.phase !== 'steady') return;
    for (const { name } of membersOf(cluster.nodes)) {
      const { last, failure } = cluster.observations.of(name);
      // what is not ours is left alone
      if (last?.systemId !== cluster.assignment.value.systemId) continue;
      if (last === null || last.role === 'subscriber' || failure !== null || this.#busy.has(name)) continue;
      if (nowMs() < (this.#visitedMs.get(name) ?? Number.NEGATIVE_INFINITY) + ROUND_MS) continue;
      this.#visitedMs.set(name, nowMs());
      const { role } = last;
      this.#run(name, () => this.#visit(name, role));
    }
  }

  async #visit(node: string, role: 'primary' | 'replica'): Promise<void> {
    const { nodes, config, effects, keeper } = this.#deps;
    try {
      if (role === 'primary' || followsOthers(config)) {
        await nodes.query(node, 'SELECT 1', [], 2000);
        return;
      }
      const settings = await tuneReceiver(nodes, node, config.failover.timeout);
      this.#settings.set(node, settings);
      if (settings.changed !== null) {
        const message = `${node}: set ${settings.changed}, so that a hanging primary is noticed within failover.timeout`;
        this.#tellOnce(`tuned ${node} ${settings.changed}`, 'settings-changed', message, node);
      }
      if (settings.obstacle !== null) {
        const message = `${node}: a hanging primary will be noticed late, wal_receiver_timeout is ${settings.timeoutMs} ms: ${settings.obstacle}`;
        this.#tellOnce(`untuned ${node}`, 'settings-unfit', message, node);
      }
      if (keeper === null) await effects.upstreams.read(nodes, node, 2000);
      else await this.#prepare(node, keeper.preset(node));
    } catch (error) {
      this.#tellOnce(`visit ${node} ${messageOf(error)}`, 'control-connection', `${node}: ${messageOf(error)}`, node);
    }
  }

  async #prepare(node: string, preset: string): Promise<void> {
    const { nodes, effects, cluster } = this.#deps;
    const may = () => {
      const { phase, systemId } = cluster.assignment.value;
      return phase === 'steady' && cluster.observations.of(node).last?.systemId === systemId;
    };
    const changed = await prepareFollower(nodes, effects.upstreams, node, preset, may);
    if (changed.length === 0) return;
    const message = `${node}: set ${changed.join(', ')}, so that commits can rely on it, and it is synchronous once promoted`;
    this.#tellOnce(`prepared ${message}`, 'settings-changed', message, node);
  }

  #run(node: string, run: () => Promise<void>): void {
    this.#busy.add(node);
    const running = run().finally(() => {
      this.#busy.delete(node);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  #tellOnce(key: string, kind: string, message: string, node: string): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#deps.chronicle.event(kind, message, { node });
  }
}
