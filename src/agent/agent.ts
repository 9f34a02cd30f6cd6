/** The process beside one server: does one thing at a time, and tells how far it is. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { z } from 'zod';
import { wallMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { parseLsn } from '../core/lsn.ts';
import { clone } from './clone.ts';
import { readControlFile } from './control-file.ts';
import { follow } from './follow.ts';
import type { LocalNode } from './local-node.ts';
import { serverState, startServer, stopServer } from './local-server.ts';
import type { AgentStatus, Operation, OperationKind, REQUESTS, Step } from './operation.ts';
import { finishMove, removeTree } from './places.ts';
import { noRewind, rewind } from './rewind.ts';
import { slotOf } from './standby-files.ts';

export type Requested<Kind extends OperationKind = OperationKind> = {
  [K in Kind]: { readonly kind: K; readonly body: z.output<(typeof REQUESTS)[K]> };
}[Kind];

/** An agent in this process, or one that is reached over HTTP. */
export type AgentPort = {
  status(): Promise<AgentStatus>;
  /** Begins it. The same one that is under way already is joined. @throws FairleadError refused while another one is */
  ask(requested: Requested): Promise<Operation>;
};

export class Agent implements AgentPort {
  readonly #node: LocalNode;
  readonly #version: string;
  #operation: Operation | null = null;
  #requested = '';
  #working: Promise<void> | null = null;
  #stopping = false;

  constructor(node: LocalNode, version: string) {
    this.#node = node;
    this.#version = version;
  }

  /** Ends what a kill left half done where that needs nobody. */
  start(): void {
    const done = finishMove(this.#node.places);
    if (done !== null) this.#node.log.warn({ data: this.#node.places.data }, `after an interruption: ${done}`);
  }

  /** What is under way ends before its next step; everything can be run again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#working;
  }

  async status(): Promise<AgentStatus> {
    const { places, version, major } = this.#node;
    const control = readControlFile(places.data);
    const state = serverState(places.data);
    return {
      version: this.#version,
      dataDirectory: places.data,
      postgres: { version, major },
      exists: control !== null,
      running: state !== 'down' && state !== 'orphaned',
      accepting: state === 'ready',
      inRecovery: control === null ? null : / in recovery$|^in recovery$/.test(control.state),
      systemId: control?.systemId ?? null,
      timeline: control?.timeline ?? null,
      state: control?.state ?? null,
      slot: slotOf(places.data),
      noRewind: noRewind(this.#node),
      leftover: this.#operation?.state === 'running' ? null : this.#leftover(),
      operation: this.#operation,
    };
  }

  async ask(requested: Requested): Promise<Operation> {
    const under = this.#operation;
    const text = JSON.stringify(requested);
    if (under?.state === 'running') {
      if (text === this.#requested) return under;
      throw new FairleadError('refused', `${under.kind} is under way: ${under.stage}`, 'wait until it has ended');
    }
    this.#requested = text;
    const operation: Operation = {
      ...{ id: randomUUID(), kind: requested.kind, state: 'running', stage: 'begun', stages: [] },
      ...{ doneBytes: null, totalBytes: null, startedAt: wallMs(), endedAt: null, error: null, remedy: null },
    };
    this.#operation = operation;
    this.#node.log.info({ operation: operation.id }, `${requested.kind} begins`);
    this.#working = this.#run(requested);
    return operation;
  }

  async #run(requested: Requested): Promise<void> {
    const { log } = this.#node;
    const step: Step = (stage, bytes) => {
      if (this.#stopping)
        throw new FairleadError('shutting_down', 'the agent was stopped', 'start it, and run it again');
      const stages = stagesWith(this.#operation?.stages ?? [], stage);
      if (stages !== this.#operation?.stages) log.info({}, stage);
      this.#change({ stage, stages, doneBytes: bytes?.doneBytes ?? null, totalBytes: bytes?.totalBytes ?? null });
    };
    try {
      await this.#do(requested, step);
      if (requested.body !== undefined && 'start' in requested.body && requested.body.start === true) {
        await this.#start(step);
      }
      this.#change({ state: 'done', endedAt: wallMs() });
      log.info({}, `${requested.kind} is done`);
    } catch (error) {
      const remedy = error instanceof FairleadError ? error.remedy : 'see the log of the agent';
      this.#change({ state: 'failed', endedAt: wallMs(), error: messageOf(error), remedy });
      log.error({ error: messageOf(error) }, `${requested.kind} failed`);
    }
  }

  async #do(requested: Requested, step: Step): Promise<void> {
    const node = this.#node;
    switch (requested.kind) {
      case 'start':
        return this.#start(step);
      case 'stop':
        return stopServer(node, requested.body?.mode ?? 'fast', step);
      case 'follow': {
        const { source, history } = requested.body;
        const steps = history.map(({ timeline, endLsn }) => ({ timeline, endLsn: parseLsn(endLsn) }));
        return follow(node, source, steps, step);
      }
      case 'rewind':
        return rewind(node, requested.body.source, step);
      case 'clone':
        return clone(node, requested.body.source, step);
      default:
        requested satisfies never;
    }
  }

  async #start(step: Step): Promise<void> {
    const { places, config } = this.#node;
    if (existsSync(places.rewinding)) {
      throw new FairleadError('refused', 'a rewind was interrupted: nothing may be started there', 'clone it');
    }
    if (readControlFile(places.data) === null) {
      throw new FairleadError('refused', `there is no data directory ${places.data}`, 'clone it');
    }
    await startServer(this.#node, step);
    // what a clone replaced is of no use any more
    if (!config.keep_old) removeTree(places.old);
  }

  #leftover(): string | null {
    const { rewinding, fresh } = this.#node.places;
    if (existsSync(rewinding)) return 'a rewind was interrupted: the data directory cannot be used, clone it';
    return existsSync(fresh) ? 'a clone was interrupted: run it again' : null;
  }

  #change(change: Partial<Operation>): void {
    if (this.#operation !== null) this.#operation = { ...this.#operation, ...change };
  }
}

/** The stage at the end of the list, unless it is there already. */
export function stagesWith(stages: readonly string[], stage: string): readonly string[] {
  return stages.at(-1) === stage ? stages : [...stages, stage];
}
