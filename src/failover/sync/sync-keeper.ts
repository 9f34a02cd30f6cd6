/**
 * Keeps synchronous replication as configured: reads the assigned primary, takes one step (decide-sync), and reads again. What it remembers
 * it can read anew from the store and the servers at any time. A change of primary takes it out of its hands: it does nothing then.
 */
import type { Cluster } from '../../cluster/cluster.ts';
import type { Quorum } from '../../cluster/synchrony.ts';
import { type Config, membersOf } from '../../config/config.ts';
import { nowMs, wallMs } from '../../core/clock.ts';
import { messageOf } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { Lsn } from '../../core/lsn.ts';
import { sleep } from '../../core/sleep.ts';
import { TINY_COMMIT_SQL } from '../../monitor/tiny-commit.ts';
import type { ControlNodes } from '../control-nodes.ts';
import type { FailoverStore } from '../failover-store.ts';
import { FENCE_NAME } from '../fence.ts';
import type { Frozen } from '../state.ts';
import { arm } from './arm.ts';
import { decideSync, namesOf, type SyncEvent, type SyncStep, type SyncView } from './decide-sync.ts';
import { FollowerHealth } from './follower-health.ts';
import { type Learned, learn } from './learn.ts';
import { type Memory, memoryFrom } from './memory.ts';
import type { Standing } from './proof.ts';
import { NOBODY } from './quorum.ts';
import { type PrimaryFacts, readFlushLsn, readPrimary } from './read-primary.ts';
import { formatNames, NO_ACKNOWLEDGEMENT, parseNames, priorityOf } from './standby-names.ts';
import type { SyncStore } from './sync-store.ts';
import { synchronyOf } from './synchrony-of.ts';
import { type Follower, isShort, presetOf, type Wish } from './target.ts';
import { unblock } from './unblock.ts';
import { hasNames, writeNames } from './write-names.ts';

const STATEMENT_MS = 2000;
/** Between two looks: while all is well, while a change is under way, after something failed. */
const PACE_MS = { settled: 200, changing: 15, failed: 500 } as const;

export type SyncKeeperDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  readonly nodes: ControlNodes;
  readonly store: SyncStore & Pick<FailoverStore, 'recordEvent'>;
  readonly log: Log;
};

const NOTHING = { guarantee: null, witnessed: false, seen: new Set<string>() };

export class SyncKeeper {
  readonly #deps: SyncKeeperDeps;
  readonly #wish: Wish;
  readonly #health: FollowerHealth;
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #memory: Memory | null = null;
  /** From followers, where the primary was never seen. */
  #learned: Learned | null = null;
  #mark: { text: string; lsn: Lsn } | null = null;
  #armed = false;
  /** What the setting was before nobody could satisfy it; null: somebody can. */
  #closed: { readonly memory: Memory; readonly before: string } | null = null;
  #shortSinceMs: number | null = null;
  #unreadSinceMs: number | null = null;
  #blocked = false;
  #failure: string | null = null;

  constructor(deps: SyncKeeperDeps, wish: Wish) {
    this.#deps = deps;
    this.#wish = wish;
    this.#health = new FollowerHealth(deps.cluster);
  }

  start(): void {
    this.#deps.cluster.synchrony.set(synchronyOf(this.#wish, null));
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** What an election has to go by. @param former the primary that is replaced, on that timeline; null: none was seen */
  standing(former: string | null, timeline: number): Standing {
    const { copies, degrade } = this.#wish;
    const memory = this.#knows(former, timeline) ? this.#memory : null;
    if (memory !== null) return { ...NOTHING, copies, degrade, guarantee: memory.guarantee, witnessed: true };
    return { ...NOTHING, copies, degrade, ...this.#learned };
  }

  /** After the followers stand still: reads what they know, where this process does not. Never rejects. */
  async learn(former: string | null, timeline: number, frozen: readonly Frozen[]): Promise<void> {
    if (this.#knows(former, timeline)) return;
    this.#learned = await learn(this.#deps.store, frozen);
  }

  /** The setting of a node in case it is promoted: nothing is acknowledged before enough others follow it. */
  preset(node: string): string {
    return formatNames(namesOf(this.#wish, presetOf(this.#wish, this.#othersThan(node))));
  }

  /** @throws ControlError | Error when the node does not take its preset */
  async prepare(node: string): Promise<void> {
    const { nodes } = this.#deps;
    const preset = this.preset(node);
    if (!(await hasNames(nodes, node, preset))) await writeNames(nodes, node, preset);
  }

  /** It was prepared and is a primary now. What it has is safe by the old guarantee, what comes by the new. */
  promoted(node: string, timeline: number, before: Standing, epoch: number): void {
    const guarantee = [...(before.guarantee ?? [NOBODY]), presetOf(this.#wish, this.#othersThan(node))];
    this.#remember({ primary: node, epoch, timeline, guarantee, version: 0, recorded: false });
    this.#learned = null;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let paceMs: number = PACE_MS.settled;
      try {
        paceMs = await this.#look();
        this.#failure = null;
      } catch (error) {
        paceMs = PACE_MS.failed;
        const text = messageOf(error);
        if (text !== this.#failure) {
          this.#deps.log.warn({ error: text }, 'synchronous replication cannot be looked after now');
        }
        const { synchrony } = this.#deps.cluster;
        if (synchrony.value !== null) synchrony.set({ ...synchrony.value, state: 'unknown', reason: text });
        this.#failure = text;
      }
      await sleep(paceMs, signal);
    }
    // commits were seen to wait, and the setting to come has not come
    await this.#open().catch((error) => this.#deps.log.warn({ error: messageOf(error) }, 'commits may be held'));
  }

  /** One look and one step. @returns milliseconds until the next. */
  async #look(): Promise<number> {
    const { cluster, nodes } = this.#deps;
    const { primary, phase } = cluster.assignment.value;
    if (primary === null || (phase !== 'steady' && phase !== 'repointing')) return PACE_MS.settled;
    const facts = await readPrimary(nodes, primary);
    const memory = await this.#memoryOf(primary, facts);
    if (facts.recovery || memory === null || !this.#inCharge(memory)) return PACE_MS.changing;
    const followers = this.#health.look(primary, facts, nowMs());
    const view = this.#viewOf(memory, facts, followers);
    const step = decideSync(view);
    this.#tell(step, view);
    await this.#take(step, memory, view);
    const rests = step.kind === 'settled' || step.kind === 'blocked';
    return rests ? PACE_MS.settled : PACE_MS.changing;
  }

  /** The store's word about this primary, once; it is taken over from the run before, or from the timeline before. */
  async #memoryOf(primary: string, facts: PrimaryFacts): Promise<Memory | null> {
    const { assignment } = this.#deps.cluster;
    const { epoch, timeline } = assignment.value;
    if (this.#memory?.primary === primary && this.#memory.timeline === timeline) {
      if (this.#memory.epoch !== epoch) this.#remember({ ...this.#memory, epoch, version: 0, recorded: false });
      return this.#memory;
    }
    const record = await this.#deps.store.latestSynchrony(primary);
    if (assignment.value.primary !== primary || assignment.value.epoch !== epoch) return null;
    const names = parseNames(facts.names, this.#names());
    this.#remember(memoryFrom({ primary, epoch, timeline }, record, names?.quorum ?? null));
    return this.#memory;
  }

  #viewOf(memory: Memory, facts: PrimaryFacts, followers: readonly Follower[]): SyncView {
    const names = parseNames(facts.names, this.#names());
    if (names?.quorum.copies === 0) this.#armed = false;
    if (!isShort(this.#wish, followers)) this.#shortSinceMs = null;
    else this.#shortSinceMs ??= nowMs();
    // half a fence, too: whoever lifts it goes by this name
    const fenced = facts.names.includes(FENCE_NAME);
    const streams = facts.walsenders.filter(({ state }) => state !== 'startup' && state !== 'backup');
    const evident = names !== null && streams.every((one) => one.priority === priorityOf(names, one.name));
    this.#unreadSinceMs = evident ? null : (this.#unreadSinceMs ?? nowMs());
    return {
      wish: this.#wish,
      followers,
      setting: { text: facts.names, names, fenced },
      guarantee: memory.guarantee,
      recorded: memory.recorded,
      evident,
      unreadForMs: this.#unreadSinceMs === null ? 0 : nowMs() - this.#unreadSinceMs,
      topPriority: Math.max(0, ...facts.walsenders.map(({ priority }) => priority)),
      armed: this.#armed,
      mark: this.#mark,
      shortForMs: this.#shortSinceMs === null ? 0 : nowMs() - this.#shortSinceMs,
    };
  }

  async #take(step: SyncStep, memory: Memory, view: SyncView): Promise<void> {
    const { nodes } = this.#deps;
    switch (step.kind) {
      case 'settled':
      case 'blocked':
      case 'wait':
        return;
      case 'record':
        return this.#record(memory, step.guarantee, step.event);
      case 'set':
        this.#mark = null;
        await writeNames(nodes, memory.primary, formatNames(step.names));
        this.#closed = null;
        // those that wait already are let go by the next word of a standby, before PostgreSQL 19
        await nodes.query(memory.primary, TINY_COMMIT_SQL, [], STATEMENT_MS);
        return;
      case 'unblock': {
        this.#unreadSinceMs = nowMs();
        const ended = await unblock(nodes, memory.primary, step.nodes);
        if (ended.length > 0) this.#deps.log.warn({ standbys: ended }, 'ended walsenders that were stuck');
        return;
      }
      case 'arm':
        return this.#arm(memory, view.setting.text);
      case 'mark': {
        const lsn = await readFlushLsn(nodes, memory.primary);
        this.#mark = { text: view.setting.text, lsn };
        return;
      }
      default:
        step satisfies never;
    }
  }

  /** No commit is acknowledged meanwhile: whatever goes wrong, that must not stay. */
  async #arm(memory: Memory, before: string): Promise<void> {
    const { nodes } = this.#deps;
    const { primary } = memory;
    this.#closed = { memory, before: before === NO_ACKNOWLEDGEMENT ? '' : before };
    const close = async () => {
      if (this.#inCharge(memory)) await writeNames(nodes, primary, NO_ACKNOWLEDGEMENT);
    };
    try {
      this.#armed = await arm(nodes, primary, close, this.#stopping.signal);
    } finally {
      if (!this.#armed || this.#stopping.signal.aborted) await this.#open();
    }
  }

  /** Nobody waits any more for a setting that nobody can satisfy. @throws ControlError | Error */
  async #open(): Promise<void> {
    const closed = this.#closed;
    this.#closed = null;
    if (closed !== null && this.#inCharge(closed.memory))
      await writeNames(this.#deps.nodes, closed.memory.primary, closed.before);
  }

  /** Durable first, then believed. */
  async #record(memory: Memory, guarantee: readonly Quorum[], event: SyncEvent | null): Promise<void> {
    const { store, log } = this.#deps;
    const { primary, epoch, timeline } = memory;
    const version = memory.version + 1;
    const detail = { node: primary, guarantee, before: memory.guarantee, copies: this.#wish.copies };
    const told = event === null ? null : { ...event, node: primary, detail, atMs: wallMs() };
    await store.recordSynchrony({ epoch, version, primary, timeline, guarantee, atMs: wallMs() }, told);
    if (event !== null) log[GRAVE.has(event.kind) ? 'warn' : 'info']({ event: event.kind, ...detail }, event.message);
    if (this.#memory !== memory) return;
    this.#remember({ ...memory, guarantee, version, recorded: true });
  }

  #tell(step: SyncStep, view: SyncView): void {
    this.#deps.cluster.synchrony.set(synchronyOf(this.#wish, { step, view }));
    const blocked = step.kind === 'blocked';
    if (blocked === this.#blocked) return;
    this.#blocked = blocked;
    const kind = blocked ? 'sync-blocked' : 'sync-unblocked';
    const message = blocked ? `commits wait: ${step.reason}` : 'there are enough healthy followers for commits again';
    this.#deps.log[blocked ? 'warn' : 'info']({ event: kind }, message);
    const event = { kind, message, node: this.#memory?.primary ?? null, detail: {}, atMs: wallMs() };
    this.#deps.store.recordEvent(event).catch(() => {});
  }

  #inCharge({ primary, epoch }: Memory): boolean {
    const { value } = this.#deps.cluster.assignment;
    const { phase } = value;
    return value.primary === primary && value.epoch === epoch && (phase === 'steady' || phase === 'repointing');
  }

  #remember(memory: Memory): void {
    if (this.#memory?.primary !== memory.primary || this.#memory.timeline !== memory.timeline) {
      this.#mark = null;
      this.#armed = false;
      this.#shortSinceMs = null;
    }
    this.#memory = Object.freeze(memory);
  }

  #names(): readonly string[] {
    return membersOf(this.#deps.cluster.nodes).map(({ name }) => name);
  }

  #othersThan(node: string): readonly string[] {
    return this.#names().filter((name) => name !== node);
  }

  #knows(former: string | null, timeline: number): boolean {
    return this.#memory !== null && this.#memory.primary === former && this.#memory.timeline === timeline;
  }
}

/** Null where the configuration leaves synchronous replication alone. */
export function keeperFor(deps: SyncKeeperDeps): SyncKeeper | null {
  const { mode, copies, degrade } = deps.config.replication;
  return mode === 'async' ? null : new SyncKeeper(deps, { mode, copies, degrade });
}

/** Somebody should look at these. */
const GRAVE: ReadonlySet<string> = new Set(['sync-degraded', 'sync-lost']);
