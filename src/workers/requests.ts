import type { Cluster } from '../cluster/cluster.ts';
import { COMMANDS } from '../console/commands.ts';
import type { RunCommand } from '../console/run-command.ts';
import type { Log } from '../core/log.ts';
import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import { limitReached } from '../frontend/admission.ts';
import type { Limits } from '../frontend/neighbours.ts';
import type { Where } from '../frontend/sessions.ts';
import type { Member } from './member.ts';
import type { FromWorker, Sample } from './messages.ts';

export type RequestsDeps = {
  readonly cluster: Cluster;
  readonly log: Log;
  readonly workers: number;
  /** Runs a command of the console. */
  readonly run: RunCommand;
  members(): readonly Member[];
  /** Counts client connections over all workers. */
  clients(): Promise<number>;
};

/** What workers ask for and tell. */
export class Requests {
  /** See `Neighbours.sequenceReader`. */
  readonly sequenceReaders = new Set<string>();
  readonly #deps: RequestsDeps;

  constructor(deps: RequestsDeps) {
    this.#deps = deps;
  }

  /** The worker is gone, and with it everything it asked for. */
  forget({ waiter, running }: Member): void {
    if (waiter !== null) this.#deps.cluster.waiters.remove(waiter);
    for (const command of running.values()) command.abort();
  }

  /** @returns what to answer, or what resolves to it */
  hear(member: Member, message: FromWorker): unknown {
    switch (message.kind) {
      case 'log':
        return this.#deps.log[message.level]({ ...message.fields, worker: member.index + 1 }, message.text);
      case 'clients':
        return this.#deps.clients();
      case 'left':
        member.clients -= message.clients;
        return;
      case 'sample':
        return this.#sample();
      case 'await':
        return this.#await(member, message.lsn);
      case 'enter':
        return this.#enter(member, message.where, message.limits);
      case 'leave':
        return member.places.add(message.where.database, message.where.user, -1);
      case 'audited':
        return this.#deps.cluster.audit.record(message.read);
      case 'run':
        return this.#command(member, message);
      case 'abort':
        return member.running.get(message.id)?.abort();
      case 'cancel':
        return this.#serving(message.pid)?.channel.ask(message);
      case 'signal':
        return this.#serving(message.signal.pid)?.channel.ask(message) ?? 'unknown';
      case 'sequence reader':
        this.sequenceReaders.add(message.of);
        for (const other of this.#deps.members()) if (other !== member) other.channel.tell(message);
        return;
      default:
        message satisfies never;
    }
  }

  /** Who told a client this process id. */
  #serving(pid: number): Member | undefined {
    const { members, workers } = this.#deps;
    return members().find(({ index, ready }) => ready && index === pid % workers);
  }

  #sample(): Promise<Sample> {
    const { samples } = this.#deps.cluster;
    return new Promise((resolve) => {
      samples.wait(samples.next, () => resolve({ timeline: samples.timeline, lsn: samples.lsn }));
    });
  }

  /** Its sessions wait for a replica: positions are asked for at the pace of waiters until it says that nobody waits. */
  #await(member: Member, lsn: Lsn): void {
    const { waiters } = this.#deps.cluster;
    if (member.waiter !== null) waiters.remove(member.waiter);
    member.waiter = null;
    if (lsn === LSN_ZERO) return;
    const waiter = {
      lsn,
      wake: () => {
        if (member.waiter === waiter) waiters.add(waiter);
      },
    };
    member.waiter = waiter;
    waiters.add(waiter);
  }

  #enter(member: Member, where: Where, limits: Limits): keyof Limits | null {
    const { members } = this.#deps;
    const of = (database: string | null, user: string | null) =>
      members().reduce((sum, { places }) => sum + places.of(database, user), 0);
    const reached = limitReached({ of }, where, limits);
    if (reached === null) member.places.add(where.database, where.user, 1);
    return reached;
  }

  async #command(member: Member, message: FromWorker & { kind: 'run' }): Promise<unknown> {
    const { id, words, argument, operator } = message;
    const command = COMMANDS.find((c) => c.words.join(' ') === words.join(' '));
    if (command === undefined) throw new Error(`no command ${words.join(' ')}`);
    const running = new AbortController();
    member.running.set(id, running);
    try {
      return await this.#deps.run({ command, argument }, { ...operator, signal: running.signal });
    } finally {
      member.running.delete(id);
    }
  }
}
