import type { ControlTarget } from '../backend/control-connection.ts';
import { agentsOf, type Config, membersOf, nodesOf } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import { wallMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { ControlNodes } from '../failover/control-nodes.ts';
import { stagesWith } from './agent.ts';
import { AgentClient } from './agent-client.ts';
import { type Method, rejoin } from './rejoin.ts';

/** A rejoin, as it is told to those who ask. */
export type Repair = {
  readonly node: string;
  readonly method: Method;
  readonly state: 'running' | 'done' | 'failed';
  readonly stage: string;
  /** Oldest first, with the present one. */
  readonly stages: readonly string[];
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  /** Wall clock, milliseconds since 1970. */
  readonly startedAt: number;
  readonly endedAt: number | null;
  /** What did not work on the way. */
  readonly notes: readonly string[];
  /** One sentence at the end. */
  readonly outcome: string | null;
  readonly error: string | null;
  readonly remedy: string | null;
};

export type RepairsDeps = {
  /** The configuration in force. */
  config(): Config;
  readonly log: Log;
  target(node: string): ControlTarget;
  /** Assigned and at rest; null: wait. */
  primary(): string | null;
  /** Tells people what happened. */
  event(kind: string, message: string, detail: { readonly node: string }): void;
};

/** The rejoins of a running Fairlead: one at a time for each node, the last one of each remembered. */
export class Repairs {
  readonly #deps: RepairsDeps;
  readonly #repairs = new Map<string, Repair>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(deps: RepairsDeps) {
    this.#deps = deps;
  }

  of(node: string): Repair | null {
    return this.#repairs.get(node) ?? null;
  }

  /** Begins it; one that is under way already is joined. @throws FairleadError refused */
  rejoin(node: string, method: Method): Repair {
    const under = this.#repairs.get(node);
    if (under?.state === 'running') return under;
    const address = this.#agentOf(node);
    if (address === null) {
      throw new FairleadError(
        'refused',
        `there is no agent beside ${node}`,
        `run \`fairlead agent\` there, and say where: cluster.nodes.${node}.agent`,
      );
    }
    const primary = this.#deps.primary();
    if (primary === null)
      throw new FairleadError('refused', 'there is no primary to follow', 'wait until there is one');
    if (primary === node) throw new FairleadError('refused', `${node} is the primary`, 'there is nothing to do');
    this.#deps.event('rejoining', `${node} is made to follow ${primary} (${method})`, { node });
    return this.#begin(node, method, primary, address, true);
  }

  /** After a switchover: the old primary becomes a follower, where it has an agent. It is not cloned for that: it lacks nothing. */
  demote(node: string, primary: string): void {
    const address = this.#agentOf(node);
    if (address === null || this.of(node)?.state === 'running') return;
    this.#deps.event('demoting', `${node} is made to follow ${primary}, after the switchover`, { node });
    this.#begin(node, 'auto', primary, address, false);
  }

  #agentOf(node: string): Address | null {
    return agentsOf(this.#deps.config()).get(node) ?? null;
  }

  #begin(node: string, method: Method, primary: string, address: Address, mayClone: boolean): Repair {
    const repair: Repair = {
      ...{
        node,
        method,
        state: 'running',
        stage: 'begun',
        stages: [],
        doneBytes: null,
        totalBytes: null,
        startedAt: wallMs(),
      },
      ...{ endedAt: null, notes: [], outcome: null, error: null, remedy: null },
    };
    this.#repairs.set(node, repair);
    const running = this.#run(repair, primary, new AgentClient(address, this.#deps.config().agent), mayClone);
    this.#running.set(node, running);
    return repair;
  }

  /** What agents have begun goes on there. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running.values());
  }

  async #run({ node, method }: Repair, primary: string, agent: AgentClient, mayClone: boolean): Promise<void> {
    const { config, target, event, log } = this.#deps;
    const nodes = new ControlNodes(target);
    try {
      const { how } = await rejoin({
        ...{ node, primary, method, mayClone, nodes, agent, signal: this.#stopping.signal },
        names: membersOf(nodesOf(config())).map(({ name }) => name),
        step: (stage, bytes) =>
          this.#change(node, {
            ...{ stage, stages: stagesWith(this.of(node)?.stages ?? [], stage) },
            ...{ doneBytes: bytes?.doneBytes ?? null, totalBytes: bytes?.totalBytes ?? null },
          }),
        note: (text) => {
          log.warn({ node }, text);
          this.#change(node, { notes: [...(this.of(node)?.notes ?? []), text] });
        },
      });
      const outcome =
        how === 'followed already' ? `${node} follows ${primary} already` : `${node} was ${how} and follows ${primary}`;
      this.#change(node, { state: 'done', outcome, endedAt: wallMs() });
      event('rebuilt', outcome, { node });
    } catch (error) {
      const remedy = error instanceof FairleadError ? error.remedy : 'see the log';
      this.#change(node, { state: 'failed', error: messageOf(error), remedy, endedAt: wallMs() });
      event('rejoin-failed', `${node} does not follow ${primary}: ${messageOf(error)}`, { node });
    } finally {
      nodes.close();
    }
  }

  #change(node: string, change: Partial<Repair>): void {
    const repair = this.#repairs.get(node);
    if (repair !== undefined) this.#repairs.set(node, { ...repair, ...change });
  }
}
