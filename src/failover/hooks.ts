import type { Cluster } from '../cluster/cluster.ts';
import { type Config, membersOf } from '../config/config.ts';
import { wallMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { formatLsn } from '../core/lsn.ts';
import { runHookProcess } from './hook-process.ts';

type HooksConfig = Config['hooks'];
export type HookName = keyof HooksConfig;

/** Events that wait for `notify`; with more, the oldest are left out. */
const QUEUE_LIMIT = 200;

/** Programs of the user's that are asked or told at certain moments. */
export class Hooks {
  readonly #config: HooksConfig;
  readonly #cluster: Cluster;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #queue: readonly object[] = [];
  #notifying = false;

  constructor(config: HooksConfig, cluster: Cluster, log: Log) {
    this.#config = config;
    this.#cluster = cluster;
    this.#log = log;
  }

  has(name: HookName): boolean {
    return this.#config[name] !== null;
  }

  /** Without its success the failover does not go on. */
  get fenceRequired(): boolean {
    return this.#config.fence?.required === true;
  }

  /** @returns why it did not end well, its last line on stderr where it has one; null: it did, or there is none */
  run(name: HookName, facts: object): Promise<string | null> {
    const hook = this.#config[name];
    if (hook === null) return Promise.resolve(null);
    const { assignment } = this.#cluster;
    const input = { hook: name, at: new Date(wallMs()).toISOString(), epoch: assignment.value.epoch, ...facts };
    const running = runHookProcess({
      ...{ command: hook.command, timeoutMs: hook.timeout, signal: this.#stopping.signal },
      input: name === 'notify' ? input : { ...input, nodes: this.#nodes() },
    }).then(({ problem, stdout, stderr }) => {
      const level = problem === null ? 'debug' : 'warn';
      this.#log[level]({ hook: name, command: hook.command[0], problem, stdout, stderr }, 'a hook has run');
      return problem;
    });
    this.#running.add(running);
    return running.finally(() => this.#running.delete(running));
  }

  /** Tells `notify` of an event, after those before. Nothing waits for it. */
  notify(event: object): void {
    if (!this.has('notify') || this.#stopping.signal.aborted) return;
    if (this.#queue.length >= QUEUE_LIMIT) {
      this.#log.warn({ left: this.#queue[0] }, 'hooks.notify is too slow: an event is not told');
      this.#queue = this.#queue.slice(1);
    }
    this.#queue = [...this.#queue, event];
    if (!this.#notifying) void this.#tell();
  }

  /** Kills those that run. */
  async stop(): Promise<void> {
    this.#queue = [];
    this.#stopping.abort();
    await Promise.allSettled(this.#running);
  }

  async #tell(): Promise<void> {
    this.#notifying = true;
    for (let event = this.#queue[0]; event !== undefined; event = this.#queue[0]) {
      this.#queue = this.#queue.slice(1);
      await this.run('notify', { event });
    }
    this.#notifying = false;
  }

  #nodes() {
    const { topology, observations, nodes } = this.#cluster;
    return membersOf(nodes).map(({ name, host, port }) => {
      const { role, state, condition, timeline } = topology.value.byName.get(name) ?? {};
      const { last } = observations.of(name);
      const receiveLsn = last === null ? null : formatLsn(last.receiveLsn);
      return { name, host, port, role, state, condition, timeline, receiveLsn };
    });
  }
}
