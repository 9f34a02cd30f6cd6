/**
 * The data plane in several processes. This one takes the ports, hands each client to the worker that has fewest, tells all of them what the
 * model says, and adds up what they tell. A worker that ends is replaced; its clients are gone, those of the others notice nothing.
 */
import { randomBytes } from 'node:crypto';
import type { AcknowledgedTables } from '../cluster/acknowledged-writes.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { shareOf } from '../config/share.ts';
import type { RunCommand } from '../console/run-command.ts';
import { Backoff } from '../core/backoff.ts';
import { clockOrigin, nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Access } from '../frontend/access.ts';
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
import { Member } from './member.ts';
import type { ToWorker } from './messages.ts';
import { ModelFeed } from './model-feed.ts';
import { Reception } from './reception.ts';
import { Requests } from './requests.ts';

/** How often each worker is asked how it is. */
const LOOK_MS = 1000;
/** Rounds in a row that a worker may leave without an answer; then it is ended: its clients get nothing from it any more. */
const MOST_MISSED = 4;
/** An answer that is waited for by people. */
const ANSWER_MS = 2000;
/** A worker that has not acted on a new assignment in this time must not go on. */
const SETTLE_MS = 2000;
/** Who comes at the start waits for all workers, or so long. */
const MUSTER_MS = 5000;
/** A worker that has served for so long did not fail at its beginning. */
const PROVEN_MS = 10_000;
const MOST_FORGOTTEN = 100;

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
  readonly #requests: Requests;
  readonly #members: Member[] = [];
  readonly #backoffs: readonly Backoff[];
  readonly #seed = randomBytes(32);
  readonly #reception = new Reception(
    () => this.#ready,
    () => this.#config,
  );
  readonly #timers = new Set<NodeJS.Timeout>();
  #config: Config;
  #feed: ModelFeed | null = null;
  #past: Overview;
  #refreshing: Promise<void> | null = null;
  #refreshingNext: Promise<void> | null = null;
  /** Workers that have ended, since when their acknowledged writes are not known. */
  readonly #forgotten: { readonly worker: number; readonly atMs: number }[] = [];
  #merged: Overview | null = null;
  #ending = false;
  #over: () => void = () => {};

  /** @throws FairleadError bad_config */
  constructor({ cluster, config, log, run }: CrewDeps) {
    this.#cluster = cluster;
    this.#config = config;
    this.#log = log;
    this.#requests = new Requests({
      cluster,
      log,
      workers: config.workers,
      run,
      members: () => this.#members,
      clients: () => this.#countClients(),
    });
    this.#backoffs = Array.from({ length: config.workers }, () => new Backoff(50, 5000));
    this.#past = noOverview(cluster.nodes.map(({ name }) => name));
    this.prepare(config);
    this.done = new Promise((resolve) => {
      this.#over = resolve;
    });
  }

  // --- what it tells -------------------------------------------------------------------------------------------------

  get overview(): Overview {
    const known = this.#members.flatMap(({ overview }) => (overview === null ? [] : [overview]));
    this.#merged ??= mergeOverviews([this.#past, ...known]);
    return { ...this.#merged, clients: this.#merged.clients + this.#reception.waiting };
  }

  /** Who comes while others are told shares the next round: what is told is never older than the question. */
  refresh(): Promise<void> {
    if (this.#refreshing !== null) {
      this.#refreshingNext ??= this.#refreshing.then(() => this.refresh());
      return this.#refreshingNext;
    }
    this.#refreshing = this.#look().finally(() => {
      this.#refreshing = null;
      this.#refreshingNext = null;
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
    return mergePools((await this.#askAll<readonly PoolReport[]>({ kind: 'pools' })).flat());
  }

  async processes(): Promise<readonly ProcessReport[]> {
    const processes = await this.#ask<ProcessReport>({ kind: 'process' });
    return processes.sort((a, b) => a.worker - b.worker);
  }

  /** What a worker that has ended, or does not answer, had acknowledged is not known: it is an entry of its own. */
  async acknowledgedAfter(afterMs: number): Promise<readonly AcknowledgedTables[]> {
    const members = this.#ready;
    const answers = await Promise.all(
      members.map((member) => member.ask<readonly AcknowledgedTables[]>({ kind: 'acknowledged', afterMs }, ANSWER_MS)),
    );
    const silent = members.filter((_, i) => answers[i] === undefined).map(({ index }) => index + 1);
    const gone = this.#forgotten.filter(({ atMs }) => atMs > afterMs).map(({ worker }) => worker);
    const unknown = [...silent, ...gone].map((worker) => {
      return { atMs: nowMs(), tables: [], client: `any of worker ${worker}, which cannot tell any more` };
    });
    return [...answers.flatMap((writes) => writes ?? []), ...unknown].sort((a, b) => a.atMs - b.atMs);
  }

  // --- what it is asked to do ----------------------------------------------------------------------------------------

  listen(): Promise<Bound> {
    return this.#reception.listen();
  }

  start(): void {
    this.#feed = new ModelFeed(this.#cluster, (changes) => this.#tellAll({ kind: 'model', changes }));
    for (let index = 0; index < this.#config.workers; index++) this.#begin(index);
    this.#timers.add(setInterval(() => void this.refresh(), LOOK_MS).unref());
    this.#later(MUSTER_MS, () => this.#reception.open());
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

  add(nodes: readonly NodeConfig[]): void {
    this.#cluster.add(nodes);
    this.#tellAll({ kind: 'nodes', nodes });
  }

  schemaChanged(): void {
    this.#tellAll({ kind: 'schema changed' });
  }

  async order(order: Order): Promise<void> {
    await this.#askAll({ kind: 'order', order });
  }

  async settled(): Promise<void> {
    this.#feed?.flush();
    await Promise.all(
      this.#members.map(async (member) => {
        if (!member.served) return;
        if (member.ready && (await member.ask({ kind: 'settled' }, SETTLE_MS)) !== undefined) return;
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
    if (mode === 'now') void this.#reception.close();
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
    let member: Member;
    try {
      member = new Member(index, {
        heard: (from, message) => this.#requests.hear(from, message),
        failed: (from, error) =>
          this.#log.error(
            { worker: from.index + 1, error: messageOf(error) },
            'what a worker tells cannot be dealt with',
          ),
        ended: (from, how) => this.#ended(from, how),
      });
    } catch (error) {
      this.#log.error({ worker: index + 1, error: messageOf(error) }, 'worker cannot be started');
      return this.#beginLater(index);
    }
    // what has not been told yet is in the model that it begins with
    this.#feed?.flush();
    this.#members.push(member);
    const model = this.#feed?.everything() ?? [];
    const config = shareOf(this.#config, index);
    const { nodes } = this.#cluster;
    member.channel.ask({ kind: 'begin', config, nodes, index, clock: clockOrigin(), seed: this.#seed, model }).then(
      () => {
        member.ready = true;
        member.served = true;
        this.#later(PROVEN_MS, () => {
          if (member.ready) this.#backoffs[index]?.reset();
        });
        this.#log.info({ worker: index + 1, pid: member.pid }, 'worker serves clients');
        this.#reception.handOver();
      },
      (error) => {
        this.#log.error({ worker: index + 1, error: messageOf(error) }, 'worker cannot begin');
        member.kill();
      },
    );
    for (const of of this.#requests.sequenceReaders) member.channel.tell({ kind: 'sequence reader', of });
  }

  #beginLater(index: number): void {
    this.#later(this.#backoffs[index]?.next() ?? 0, () => {
      if (!this.#ending) this.#begin(index);
    });
  }

  #end(member: Member, why: string): void {
    this.#log.error({ worker: member.index + 1, pid: member.pid, clients: member.clients }, `worker is ended: ${why}`);
    member.ready = false;
    member.kill();
  }

  #ended(member: Member, how: string): void {
    this.#members.splice(this.#members.indexOf(member), 1);
    this.#merged = null;
    this.#forgotten.push({ worker: member.index + 1, atMs: nowMs() });
    if (this.#forgotten.length > MOST_FORGOTTEN) this.#forgotten.shift();
    if (member.overview !== null) this.#past = mergeOverviews([this.#past, pastOf(member.overview)]);
    this.#requests.forget(member);
    if (this.#ending) return this.#endWhenAlone();
    const facts = { worker: member.index + 1, pid: member.pid, clients: member.clients };
    this.#log.error(facts, `worker has ended (${how}); another one takes its place`);
    this.#beginLater(member.index);
  }

  #endWhenAlone(): void {
    if (this.#members.length > 0) return;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#feed?.stop();
    void this.#reception.close().then(() => this.#over());
  }

  async #look(): Promise<void> {
    this.#reception.expire();
    await Promise.all(
      this.#ready.map(async (member) => {
        const overview = await member.ask<Overview>({ kind: 'overview' }, ANSWER_MS);
        member.overview = overview ?? member.overview;
        member.missed = overview === undefined ? member.missed + 1 : 0;
        if (member.ready && member.missed >= MOST_MISSED) this.#end(member, 'it does not answer');
      }),
    );
    this.#merged = null;
  }

  async #countClients(): Promise<number> {
    const processes = await this.processes();
    return processes.reduce((sum, { clients }) => sum + clients, this.#reception.waiting);
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

  /** The same, where nobody may be left out. @throws FairleadError refused when one does not answer */
  async #askAll<T>(message: ToWorker): Promise<T[]> {
    this.#feed?.flush();
    return Promise.all(
      this.#members
        .filter(({ served }) => served)
        .map(async (member) => {
          const answer = await member.ask<T>(message, ANSWER_MS);
          if (answer !== undefined) return answer;
          throw new FairleadError(
            'refused',
            `worker ${member.index + 1} does not answer`,
            'try again: it is replaced if it stays so',
          );
        }),
    );
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }
}
