import type { AcknowledgedTables } from '../cluster/acknowledged-writes.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { sameHost } from '../cluster/same-host.ts';
import type { Config } from '../config/config.ts';
import { wallMs, wallMsOf } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { each, within } from './each.ts';
import type { FailoverStore } from './failover-store.ts';
import { type Covered, lift, putBack, quell } from './fence.ts';
import { FLAP_WINDOW_MS } from './flapping.ts';
import { forward } from './forward.ts';
import { freeze, markAs, NotReplicaError, receiverSilenceMs, thaw } from './freeze.ts';
import { GivenUp, handOver } from './hand-over.ts';
import type { Hooks } from './hooks.ts';
import { inspectPrimary } from './inspect.ts';
import { Laps } from './laps.ts';
import type { LostJournal } from './lost/lost-journal.ts';
import { type NextXid, nextXidOf } from './next-xid.ts';
import { patiently } from './patiently.ts';
import { type Promoted, PromotionError, promote } from './promote.ts';
import { DivergedError, dropStaleSlots, repoint, slotNameFor } from './repoint.ts';
import type { SignsOfLife } from './signs-of-life.ts';
import type { Action, Outcome, State } from './state.ts';
import type { SyncKeeper } from './sync/sync-keeper.ts';
import { leadsTo, Upstreams } from './upstreams.ts';

export type EffectDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  readonly nodes: ControlNodes;
  readonly signs: SignsOfLife;
  readonly store: FailoverStore;
  readonly clients: Clients;
  readonly keeper: SyncKeeper | null;
  readonly journal: LostJournal;
  readonly hooks: Hooks;
};

/** Whatever serves clients, as far as a change of primary concerns it. */
export type Clients = {
  /** Resolves when no transaction is in flight through Fairlead, or after `timeoutMs`. New ones are held already. */
  quiesce(timeoutMs: number): Promise<void>;
  /** Resolves when no session acts on an assignment that was replaced before this call. */
  settled(): Promise<void>;
  /** Writes that were acknowledged after `atMs` (monotonic milliseconds), oldest first. */
  acknowledgedAfter(atMs: number): Promise<readonly AcknowledgedTables[]>;
};

type ActionOf<Kind extends Action['kind']> = Extract<Action, { kind: Kind }>;

/** A receiver that was silent for less than this part of `failover.timeout` heard from a live primary after we lost it. */
const FRESH_SHARE = 0.5;

/** Carries out what was decided, and remembers what only the doing tells. Work never rejects: failing is an outcome. */
export class Effects {
  readonly upstreams = new Upstreams();
  readonly #deps: EffectDeps;
  /** Nodes whose fence was put up and checked, with the settings it covers. */
  readonly #covered = new Map<string, Covered>();
  readonly #diverged = new Map<string, string>();
  readonly #frozen = new Set<string>();
  /** Whom a hand-over has made ready to be promoted. */
  #prepared: string | null = null;
  /** The old primary that an agent makes a follower of the new one. */
  #demoted: string | null = null;

  constructor(deps: EffectDeps) {
    this.#deps = deps;
  }

  quelled(node: string): boolean {
    return this.#covered.has(node);
  }

  diverged(node: string): string | null {
    return this.#diverged.get(node) ?? null;
  }

  async inspect(action: ActionOf<'inspect'>): Promise<Outcome> {
    const { nodes, store } = this.#deps;
    const histories = new Map();
    const recorded = new Map();
    const promotions = new Set<number>();
    const { lift: fenced } = action;
    // where it fails, it is tried again while the node is the primary
    if (fenced !== undefined) await lift(nodes, fenced, this.#coveredBy(fenced)).catch(() => {});
    await each(action.nodes, async (node) => {
      // a replica has the epochs too, and a primary may be without a schema
      const newest = await store.latestEpoch(node).catch(() => null);
      if (newest !== null) recorded.set(node, newest);
      const earlier = await store.recentPromotions(node, wallMs() - FLAP_WINDOW_MS).catch(() => []);
      for (const atMs of earlier) promotions.add(atMs - wallMsOf(0));
      histories.set(node, await inspectPrimary(nodes, node));
    });
    return { work: 'inspect', histories, recorded, promotionsMs: [...promotions].sort((a, b) => a - b) };
  }

  async validate({ from, to, reason }: ActionOf<'validate'>): Promise<Outcome> {
    return {
      work: 'validate',
      refused: await this.#deps.hooks.run('validate', { event: 'failover', from, to, reason }),
    };
  }

  async freeze(action: ActionOf<'freeze'>, { epoch, timeline, reason }: State): Promise<Outcome> {
    this.#prepared = null;
    const { nodes, config, signs, clients, keeper, hooks } = this.#deps;
    if (!action.force) {
      const alive = await this.#stillStreaming(action);
      if (alive !== null) return { work: 'freeze', frozen: [], alive };
    }
    const frozen: Extract<Outcome, { work: 'freeze' }>['frozen'][number][] = [];
    let promoted: string | null = null;
    const stopping = each(action.nodes, async (node) => {
      this.#frozen.add(node);
      const position = freeze(nodes, this.upstreams, node, signs.of(node).timeline, epoch);
      const noted = position.catch((error) => {
        if (error instanceof NotReplicaError) promoted = `${node} is a primary: somebody else promoted it`;
        throw error;
      });
      frozen.push(await noted);
    });
    const quelling =
      action.force && action.former !== null
        ? each([action.former], async (node) => void this.#covered.set(node, await quell(nodes, node, epoch)))
        : Promise.resolve(new Map<string, string>());
    const learning = stopping.then(() => keeper?.learn(action.former, timeline, frozen));
    const fenced = hooks.has('fence') ? hooks.run('fence', { event: 'failover', from: action.former, reason }) : null;
    await Promise.all([learning, within(config.failover.timeout, quelling), clients.settled()]);
    return { work: 'freeze', frozen, alive: promoted, ...(fenced === null ? {} : { unfenced: await fenced }) };
  }

  /** The last look before anything is touched: the observations are up to a probe interval old. */
  async #stillStreaming(action: ActionOf<'freeze'>): Promise<string | null> {
    const { nodes, cluster, config } = this.#deps;
    let alive: string | null = null;
    await each(action.nodes, async (node) => {
      const silentMs = await receiverSilenceMs(nodes, node);
      const sender = cluster.observations.of(node).last?.receiver ?? null;
      const cascades =
        sender !== null &&
        action.nodes.some((n) => {
          const { host, port } = nodes.target(n);
          return n !== node && port === sender.senderPort && sameHost(host, sender.senderHost);
        });
      if (silentMs === null || cascades || silentMs > config.failover.timeout * FRESH_SHARE) return;
      alive = `${node} still receives WAL from ${action.former ?? 'a primary'}: only Fairlead is cut off from it`;
    });
    return alive;
  }

  /** @param signal aborted when an operator gives it up */
  async handOver(action: ActionOf<'hand over'>, state: State, signal: AbortSignal): Promise<Outcome> {
    const { cluster, nodes, signs, clients } = this.#deps;
    this.#prepared = null;
    const others = cluster.nodes
      .map(({ name }) => name)
      .filter((name) => name !== action.from && name !== action.to && !state.fenced.has(name))
      .filter((name) => {
        const { last, failure } = cluster.observations.of(name);
        return failure === null && last?.role === 'replica' && last.systemId === state.systemId;
      });
    try {
      const timelineOf = (node: string) => signs.of(node).timeline;
      const { from, to, epoch, waitMs } = action;
      const prepare = () => this.#prepare(to);
      const plan = { from, to, epoch, waitMs, others, timelineOf, clients, signal, prepare };
      const { frozen, finalLsn, covered, steps } = await handOver(nodes, this.upstreams, plan);
      this.#prepared = to;
      this.#covered.set(action.from, covered);
      for (const { node } of frozen) this.#frozen.add(node);
      return { work: 'hand over', frozen, newestLsn: finalLsn, steps, refused: null };
    } catch (error) {
      const cancelled = error instanceof GivenUp;
      return { work: 'hand over', frozen: [], newestLsn: LSN_ZERO, refused: messageOf(error), cancelled };
    }
  }

  async promote(action: ActionOf<'promote'>, state: State, signal: AbortSignal): Promise<Outcome> {
    const { nodes, cluster, keeper } = this.#deps;
    const { node, timeline, receiveLsn } = action;
    const laps = new Laps();
    // an old primary that handed over can go on at once: its target is asked again for a while, but nobody waits for it afterwards
    const planned = state.plan?.kind === 'planned';
    try {
      const expected = { systemId: state.systemId, timeline, receiveLsn };
      const before = keeper?.standing(state.former, state.timeline);
      let nextXid: NextXid | null = null;
      const prepare = async () => {
        if (this.#prepared !== node) await this.#prepare(node);
        this.#prepared = null;
        this.#frozen.add(node);
        await markAs(nodes, this.upstreams, node, 'promote', { epoch: state.epoch, timeline });
        nextXid = await nextXidOf(nodes, node);
        laps.lap('prepare');
      };
      const { firstXid, ...done } = await promote(
        nodes,
        node,
        expected,
        planned ? () => patiently(prepare, signal) : prepare,
        signal,
      );
      laps.lap('promote');
      if (before !== undefined) keeper?.promoted(node, done.timeline, before, state.epoch);
      this.#covered.delete(node);
      this.#frozen.delete(node);
      const lostCommits = cluster.recent.after(done.forkLsn);
      // what it replayed after it was asked may have ended more transactions
      const asked = nextXid as NextXid | null;
      const known = asked !== null && asked.replayLsn >= done.forkLsn ? { nextXid: asked.xid } : {};
      const ownXid = known.nextXid?.toString() ?? firstXid;
      return {
        work: 'promote',
        node,
        ...done,
        ...known,
        lostCommits,
        journal: await this.#writeDown(state, node, { ...done, firstXid: ownXid }),
        steps: laps.steps,
        ...(await this.#unproven(state, done.forkLsn)),
        refused: null,
      };
    } catch (error) {
      const uncertain = error instanceof PromotionError ? error.uncertain : true;
      if (!uncertain && !planned)
        await markAs(nodes, this.upstreams, node, 'frozen', { epoch: state.epoch, timeline }).catch(() => {});
      const toldRun = error instanceof PromotionError ? error.toldRun : null;
      return { work: 'promote', node, refused: messageOf(error), uncertain, toldRun };
    }
  }

  /** The target is left to the chores: it may be away. */
  async undo({ from, target }: ActionOf<'undo'>): Promise<Outcome> {
    const { nodes } = this.#deps;
    if (target !== null) this.#frozen.delete(target);
    const writable = () => patiently(() => putBack(nodes, from, this.#coveredBy(from)));
    const [problems] = await Promise.all([each([from], writable), this.thaw({ kind: 'thaw', nodes: null })]);
    const problem = problems.get(from) ?? null;
    if (problem === null) this.#covered.delete(from);
    return { work: 'undo', problem };
  }

  /** Lets `node` have what only `source` has. It stands still again afterwards, however that ended. */
  async forward(action: ActionOf<'fast-forward'>, { epoch }: State): Promise<Outcome> {
    const { nodes, signs } = this.#deps;
    const { node, source } = action;
    const { frozen, refused } = await forward(nodes, this.upstreams, { ...action, epoch }, signs.of(node).timeline);
    return { work: 'fast-forward', node, source, frozen, refused };
  }

  async #prepare(node: string): Promise<void> {
    const { nodes, keeper } = this.#deps;
    // a former primary that was rebuilt may have kept its fence; it would become a primary that takes no write
    await lift(nodes, node, this.#coveredBy(node));
    // synchronous from its first commit on
    await keeper?.prepare(node);
  }

  async repoint(action: ActionOf<'repoint'>, state: State): Promise<Outcome> {
    this.#demoted = action.demoted;
    const problems = await each(action.nodes, async (node) => {
      const warning = await this.#repointOne(node, action.primary, state);
      if (warning !== null) throw new Error(warning);
    });
    await this.#complete(action.primary, action.nodes, state, action.demoted).catch(() => {});
    return { work: 'repoint', problems };
  }

  /** The last step of a change: slots that nobody will use go, and the new primary's mark. @throws ControlError */
  async #complete(
    primary: string,
    followers: readonly string[],
    state: State,
    demoted: string | null = null,
  ): Promise<void> {
    const { nodes } = this.#deps;
    const slotOf = (node: string) => slotNameFor(node, this.upstreams.of(node)?.slotName);
    const inUse = new Set(followers.map(slotOf));
    const gone = [...state.fenced.keys(), primary].filter((node) => node !== demoted);
    const stale = gone.flatMap((node) => [slotNameFor(node, ''), slotOf(node)]);
    const unused = stale.filter((slot) => !inUse.has(slot));
    await dropStaleSlots(nodes, primary, unused).catch(() => {});
    await thaw(nodes, this.upstreams, primary);
  }

  async thaw(action: ActionOf<'thaw'>): Promise<Outcome> {
    const problems = await each(action.nodes ?? [...this.#frozen], async (node) => {
      await thaw(this.#deps.nodes, this.upstreams, node);
      this.#frozen.delete(node);
    });
    return { work: 'thaw', problems };
  }

  /** @throws ControlError | Error */
  async fence(action: ActionOf<'fence'>): Promise<void> {
    const covered = await quell(this.#deps.nodes, action.node, action.epoch);
    this.#covered.set(action.node, { ...this.#covered.get(action.node), ...covered });
  }

  /** @returns false when there was no fence of ours. @throws ControlError | Error */
  async lift(action: ActionOf<'lift'>, state: State): Promise<boolean> {
    const { mark } = await this.upstreams.turned(this.#deps.nodes, action.node, 2000);
    const lifted = await lift(this.#deps.nodes, action.node, this.#coveredBy(action.node));
    // what an observation told may be over; slots of those that are on their way back stay
    if (state.primary === action.node && mark !== null) {
      const followers = this.#deps.cluster.nodes.map(({ name }) => name).filter((name) => !state.fenced.has(name));
      await this.#complete(
        action.node,
        followers.filter((name) => name !== action.node),
        state,
        this.#demoted,
      );
    }
    this.#covered.delete(action.node);
    this.#diverged.delete(action.node);
    return lifted;
  }

  /**
   * Looks at where a replica that follows nobody is turned to. Turned to the primary, it is left alone: PostgreSQL tries by itself.
   * @returns what was done, or null. @throws ControlError | Error
   */
  async mend(action: ActionOf<'mend'>, state: State): Promise<string | null> {
    const { nodes } = this.#deps;
    const { conninfo, mark } = await this.upstreams.turned(nodes, action.node, 2000);
    const { host, port } = nodes.target(action.primary);
    const elsewhere = this.#deps.cluster.nodes.some(
      ({ name }) => name !== action.primary && leadsTo(conninfo, nodes.target(name)),
    );
    const turned = mark === null && !elsewhere && new RegExp(`port='?${port}\\b`).test(conninfo);
    const current = this.#deps.signs.of(action.node).timeline >= state.timeline;
    if (turned && current) return null;
    const warning = await this.#repointOne(action.node, action.primary, state);
    return `${action.node} was turned to ${action.primary} (${host}:${port})${warning === null ? '' : `; ${warning}`}`;
  }

  /** What comes back when the fence goes. Where its own setting is not known any more, a node is not made asynchronous by that. */
  #coveredBy(node: string): Covered | undefined {
    const { keeper } = this.#deps;
    const covered = this.#covered.get(node);
    return keeper === null ? covered : { synchronous_standby_names: keeper.preset(node), ...covered };
  }

  /** Writes down the transactions that were lost. A planned change waited until the target had everything. */
  async #writeDown({ plan, systemId, epoch }: State, to: string, promoted: Promoted): Promise<string | null> {
    if (plan === null || plan.kind === 'planned' || systemId === null) return null;
    const { timeline, parentTimeline, forkLsn, firstXid } = promoted;
    const timelines = { oldTimeline: parentTimeline, newTimeline: timeline };
    const { former, newestLsn } = plan;
    return this.#deps.journal.write({
      ...{ systemId, epoch, from: former, to, ...timelines, forkLsn, oldPrimaryLsn: newestLsn, firstXid },
    });
  }

  /** Acknowledged writes that nothing proves to have survived. A planned change waited until the target had everything. */
  async #unproven({ plan }: State, forkLsn: Lsn) {
    if (plan === null || plan.former === null || plan.kind === 'planned') return {};
    const { cluster, clients } = this.#deps;
    const provenUntilMs = cluster.provenUntil(plan.former, forkLsn);
    const writes = await clients.acknowledgedAfter(provenUntilMs);
    const unproven = writes.map(({ atMs, tables, client }) => ({ wallMs: wallMsOf(atMs), tables, client }));
    return { unproven, provenUntilMs };
  }

  async #repointOne(node: string, primary: string, state: State): Promise<string | null> {
    const timeline = this.#deps.signs.of(node).timeline;
    const forkLsn = state.forks.find((fork) => fork.parentTimeline === timeline)?.forkLsn ?? null;
    const later = state.forks.filter((fork) => fork.parentTimeline >= timeline).map((fork) => fork.forkLsn);
    const lastForkLsn = later.length === 0 ? null : later.reduce(maxLsn);
    try {
      const target = { name: primary, timeline: state.timeline, forkLsn, lastForkLsn };
      const warning = await repoint(this.#deps.nodes, this.upstreams, node, timeline, target);
      this.#frozen.delete(node);
      this.#deps.signs.follows(node, state.timeline);
      return warning;
    } catch (error) {
      if (error instanceof DivergedError) this.#diverged.set(node, error.message);
      throw error;
    }
  }
}
