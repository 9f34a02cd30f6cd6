/**
 * The data plane in several processes. This one takes the ports, hands each client to the worker that has fewest, tells all of them what the
 * model says, and adds up what they tell. A worker that ends is replaced; its clients are gone, those of the others notice nothing.
 */
import type { AcknowledgedTables } from '../cluster/acknowledged-writes.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import { shareOf } from '../config/share.ts';
import { COMMANDS } from '../console/commands.ts';
import type { RunCommand } from '../console/run-command.ts';
import { Backoff } from '../core/backoff.ts';
import { clockOrigin, nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import { Queue } from '../core/queue.ts';
import { Access } from '../frontend/access.ts';
import { limitReached } from '../frontend/admission.ts';
import { ClientCounts } from '../frontend/client-counts.ts';
import { Doors, openAll } from '../frontend/doors.ts';
import type { Limits } from '../frontend/neighbours.ts';
import type { Where } from '../frontend/sessions.ts';
import type { ShutdownMode } from '../frontend/shutdown.ts';
import { UserList } from '../frontend/user-list.ts';
import { mergeOverviews, mergePools } from '../plane/merge.ts';
import { noOverview, pastOf } from '../plane/past.ts';
import type {
  Bound,
  ClientReport,
  Order,
  Overview,
  Plane,
  PoolReport,
  ProcessReport,
  ServerReport,
} from '../plane/plane.ts';
import { ClientTls } from '../transport/client-tls.ts';
import { type Arrival, Member } from './member.ts';
import type { FromWorker, Sample, ToWorker } from './messages.ts';
import { ModelFeed } from './model-feed.ts';

/** How often each worker is asked how it is. */
const LOOK_MS = 1000;
/** A worker that does not answer for so long is ended: its clients get nothing from it any more. */
const SILENT_MS = 10_000;
/** Who comes at the start waits for all workers, or so long: else the first would get them all. */
const MUSTER_MS = 5000;
/** An answer that is waited for by people. */
const ANSWER_MS = 2000;
/** A worker that has not acted on a new assignment in this time must not go on. */
const SETTLE_MS = 1000;

export type CrewDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  readonly log: Log;
  /** Runs a command of the console. */
  readonly run: RunCommand;
};

export class Crew implements Plane {
  readonly done: Promise<void>;
  readonly #cluster: Cluster;
  readonly #log: Log;
  readonly #run: RunCommand;
  readonly #doors = new Doors((socket, address, readOnly) => this.#entered({ socket, address, readOnly }), true);
  readonly #members: Member[] = [];
  readonly #backoffs: readonly Backoff[];
  readonly #arrivals = new Queue<Arrival>();
  readonly #counts = new ClientCounts();
  readonly #sequenceReaders = new Set<string>();
  /** Commands of the console that run, by worker and number. */
  readonly #running = new Map<string, AbortController>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #config: Config;
  #feed: ModelFeed | null = null;
  #past: Overview;
  #refreshing: Promise<void> | null = null;
  /** All workers have begun once, or have had the time to. */
  #mustered = false;
  #ending = false;
  #over: () => void = () => {};

  /** @throws FairleadError bad_config */
  constructor({ cluster, config, log, run }: CrewDeps) {
    this.#cluster = cluster;
    this.#config = config;
    this.#log = log;
    this.#run = run;
    this.#backoffs = Array.from({ length: config.workers }, () => new Backoff(50, 5000));
    this.#past = noOverview(cluster.nodes.map(({ name }) => name));
    this.prepare(config);
    this.done = new Promise((resolve) => {
      this.#over = resolve;
    });
  }

  // --- what it tells -------------------------------------------------------------------------------------------------

  get overview(): Overview {
    const known = this.#ready.flatMap(({ overview }) => (overview === null ? [] : [overview]));
    const all = mergeOverviews([this.#past, ...known]);
    return { ...all, clients: all.clients + this.#arrivals.length };
  }

  refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async clients(): Promise<readonly ClientReport[]> {
    return (await this.#ask<readonly ClientReport[]>({ kind: 'clients' })).flat();
  }

  async servers(): Promise<readonly ServerReport[]> {
    return (await this.#ask<readonly ServerReport[]>({ kind: 'servers' })).flat();
  }

  async pools(): Promise<readonly PoolReport[]> {
    return mergePools((await this.#ask<readonly PoolReport[]>({ kind: 'pools' })).flat());
  }

  async processes(): Promise<readonly ProcessReport[]> {
    const processes = await this.#ask<ProcessReport>({ kind: 'process' });
    return processes.sort((a, b) => a.worker - b.worker);
  }

  async acknowledgedAfter(afterMs: number): Promise<readonly AcknowledgedTables[]> {
    const writes = await this.#ask<readonly AcknowledgedTables[]>({ kind: 'acknowledged', afterMs });
    return writes.flat().sort((a, b) => a.atMs - b.atMs);
  }

  // --- what it is asked to do ----------------------------------------------------------------------------------------

  listen(): Promise<Bound> {
    return openAll(this.#doors, this.#config);
  }

  start(): void {
    this.#feed = new ModelFeed(this.#cluster, (changes) => this.#tellAll({ kind: 'model', changes }));
    for (let index = 0; index < this.#config.workers; index++) this.#begin(index);
    this.#timers.add(setInterval(() => void this.refresh(), LOOK_MS).unref());
    this.#later(MUSTER_MS, () => {
      this.#mustered = true;
      this.#handOver();
    });
  }

  prepare(read: Config): (inForce: Config) => void {
    new ClientTls().prepare(read.tls);
    new Access(() => read).prepare(read);
    new UserList(this.#log).load(read.auth.users_file);
    return (inForce) => {
      this.#config = inForce;
      for (const { index, channel } of this.#members)
        channel.tell({ kind: 'configure', config: shareOf(inForce, index) });
    };
  }

  schemaChanged(): void {
    this.#tellAll({ kind: 'schema changed' });
  }

  async order(order: Order): Promise<void> {
    await this.#ask({ kind: 'order', order });
  }

  async settled(): Promise<void> {
    this.#feed?.flush();
    await Promise.all(
      this.#ready.map(async (member) => {
        if ((await member.ask({ kind: 'settled' }, SETTLE_MS)) !== undefined) return;
        this.#end(member, 'it has not acted on the new assignment in time');
        await member.gone;
      }),
    );
  }

  async quiesce(timeoutMs: number): Promise<void> {
    await Promise.all(this.#ready.map((member) => member.ask({ kind: 'quiesce', timeoutMs }, timeoutMs + ANSWER_MS)));
  }

  shutDown(mode: ShutdownMode): Promise<void> {
    this.#ending = true;
    for (const member of this.#members) {
      const asked = member.channel.ask({ kind: 'shut down', mode }).catch(() => {});
      void asked.then(() => member.dismiss());
      if (mode === 'now') this.#later(ANSWER_MS, () => member.kill());
    }
    this.#endWhenAlone();
    return this.done;
  }

  // --- workers -------------------------------------------------------------------------------------------------------

  get #ready(): Member[] {
    return this.#members.filter((member) => member.ready);
  }

  #begin(index: number): void {
    const member = new Member(index, {
      heard: (from, message) => this.#hear(from, message),
      ended: (from, how) => this.#ended(from, how),
    });
    this.#members.push(member);
    this.#feed?.flush();
    const model = this.#feed?.everything() ?? [];
    const config = shareOf(this.#config, index);
    for (const of of this.#sequenceReaders) member.channel.tell({ kind: 'sequence reader', of });
    member.channel.ask({ kind: 'begin', config, index, clock: clockOrigin(), model }).then(
      () => {
        member.ready = true;
        this.#backoffs[index]?.reset();
        this.#log.info({ worker: index + 1, pid: member.pid }, 'worker serves clients');
        this.#handOver();
      },
      (error) => {
        this.#log.error({ worker: index + 1, error: messageOf(error) }, 'worker cannot begin');
        member.kill();
      },
    );
  }

  #end(member: Member, why: string): void {
    this.#log.error({ worker: member.index + 1, pid: member.pid, clients: member.clients }, `worker is ended: ${why}`);
    member.ready = false;
    member.kill();
  }

  #ended(member: Member, how: string): void {
    this.#members.splice(this.#members.indexOf(member), 1);
    if (member.overview !== null) this.#past = mergeOverviews([this.#past, pastOf(member.overview)]);
    if (member.waiter !== null) this.#cluster.waiters.remove(member.waiter);
    for (const { database, user, clients } of member.places.places()) {
      for (let i = 0; i < clients; i++) this.#counts.add(database, user, -1);
    }
    for (const [key, running] of this.#running) {
      if (key.startsWith(`${member.index} `)) running.abort();
    }
    if (this.#ending) return this.#endWhenAlone();
    const facts = { worker: member.index + 1, pid: member.pid, clients: member.clients };
    this.#log.error(facts, `worker has ended (${how}); another one takes its place`);
    this.#later(this.#backoffs[member.index]?.next() ?? 0, () => {
      if (!this.#ending) this.#begin(member.index);
    });
  }

  #endWhenAlone(): void {
    if (this.#members.length > 0) return;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#feed?.stop();
    for (let arrival = this.#arrivals.shift(); arrival !== undefined; arrival = this.#arrivals.shift()) {
      arrival.socket.destroy();
    }
    void this.#doors.close().then(() => this.#over());
  }

  async #look(): Promise<void> {
    const atMs = nowMs();
    await Promise.all(
      this.#ready.map(async (member) => {
        if (member.askedMs !== null && atMs - member.askedMs > SILENT_MS) this.#end(member, 'it does not answer');
        member.overview = (await member.ask<Overview>({ kind: 'overview' }, ANSWER_MS)) ?? member.overview;
      }),
    );
  }

  #tellAll(message: ToWorker): void {
    for (const { channel } of this.#members) channel.tell(message);
  }

  /** Answers of those that answer in time. */
  async #ask<T>(message: ToWorker): Promise<T[]> {
    this.#feed?.flush();
    const answers = await Promise.all(this.#ready.map((member) => member.ask<T>(message, ANSWER_MS)));
    return answers.filter((answer) => answer !== undefined) as T[];
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  // --- clients on their way ------------------------------------------------------------------------------------------

  #entered(arrival: Arrival): void {
    arrival.socket.on('error', () => {});
    this.#arrivals.push(arrival);
    this.#handOver();
  }

  #handOver(): void {
    this.#mustered ||= this.#ready.length === this.#config.workers;
    while (this.#mustered) {
      const open = this.#ready.filter(({ receiving }) => receiving !== 'for long');
      const member = open.reduce<Member | null>((a, b) => (a === null || b.clients < a.clients ? b : a), null);
      if (member === null || member.receiving !== 'nobody') return;
      const arrival = this.#arrivals.shift();
      if (arrival === undefined) return;
      if (arrival.socket.destroyed) continue;
      const clients = this.#members.reduce((sum, one) => sum + one.clients, 1);
      member.receive(arrival, clients, () => this.#handOver());
    }
  }

  // --- what workers ask for ------------------------------------------------------------------------------------------

  #hear(member: Member, message: FromWorker): unknown {
    switch (message.kind) {
      case 'log':
        return this.#log[message.level]({ ...message.fields, worker: member.index + 1 }, message.text);
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
        member.leave(message.where);
        return this.#counts.add(message.where.database, message.where.user, -1);
      case 'run':
        return this.#command(member, message);
      case 'abort':
        return this.#running.get(`${member.index} ${message.id}`)?.abort();
      case 'cancel':
        return this.#serving(message.pid)?.channel.ask(message);
      case 'signal':
        return this.#serving(message.signal.pid)?.channel.ask(message) ?? 'unknown';
      case 'sequence reader':
        this.#sequenceReaders.add(message.of);
        for (const other of this.#members) if (other !== member) other.channel.tell(message);
        return;
      default:
        message satisfies never;
    }
  }

  /** Who told a client this process id. */
  #serving(pid: number): Member | undefined {
    return this.#ready.find(({ index }) => index === pid % this.#config.workers);
  }

  #sample(): Promise<Sample> {
    const { samples } = this.#cluster;
    return new Promise((resolve) => {
      samples.wait(samples.next, () => resolve({ timeline: samples.timeline, lsn: samples.lsn }));
    });
  }

  /** Its sessions wait for a replica: positions are asked for at the pace of waiters until it says that nobody waits. */
  #await(member: Member, lsn: Lsn): void {
    const { waiters } = this.#cluster;
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
    const reached = limitReached(this.#counts, where, limits);
    if (reached !== null) return reached;
    member.enter(where);
    this.#counts.add(where.database, where.user, 1);
    return null;
  }

  async #command(member: Member, message: FromWorker & { kind: 'run' }): Promise<unknown> {
    const { id, words, argument, operator } = message;
    const command = COMMANDS.find((c) => c.words.join(' ') === words.join(' '));
    if (command === undefined) throw new Error(`no command ${words.join(' ')}`);
    const key = `${member.index} ${id}`;
    const running = new AbortController();
    this.#running.set(key, running);
    try {
      return await this.#run({ command, argument }, { ...operator, signal: running.signal });
    } finally {
      this.#running.delete(key);
    }
  }
}
