/**
 * Decides who is primary and makes it so. A loop of three steps: take a view of the cluster, decide (pure), carry out. The only writer of
 * `cluster.assignment`.
 */
import type { ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import { nowMs, wallMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Signal } from '../core/signal.ts';
import { sleep } from '../core/sleep.ts';
import { Asked, type Result } from './asked.ts';
import { Chronicle } from './chronicle.ts';
import { ControlNodes } from './control-nodes.ts';
import { decide } from './decide.ts';
import { type Clients, Effects } from './effects.ts';
import type { FailoverStore } from './failover-store.ts';
import { Hooks } from './hooks.ts';
import { LostJournal } from './lost/lost-journal.ts';
import { planSwitchover, type SwitchoverPlan } from './plan-switchover.ts';
import { SignsOfLife } from './signs-of-life.ts';
import { type Action, assignmentOf, INITIAL, type Outcome, type Request, type State } from './state.ts';
import { keeperFor, type SyncKeeper } from './sync/sync-keeper.ts';
import type { SyncStore } from './sync/sync-store.ts';
import { Upkeep } from './upkeep.ts';
import { loadView, type View, type ViewExtras } from './view.ts';

/** The loop also runs at once after every observation and every outcome. */
const TICK_MS = 100;
/** What is under way on the primary may be brought to an end within this. */
const LEAVE_MS = 1000;
/** Decisions in a row without a pause; more would be a circle. */
const STEP_LIMIT = 20;

export type ControllerDeps = {
  readonly config: Config;
  /** Names of the nodes that have an agent. */
  agents(): ReadonlySet<string>;
  readonly log: Log;
  readonly store: FailoverStore & SyncStore;
  target(node: string): ControlTarget;
  readonly clients: Clients;
  /** Begins to make a former primary a follower; tells by itself how that ends. */
  demote(node: string, primary: string): void;
  readonly hooks?: Hooks;
};

/** What an operator may say about a switchover. */
export type SwitchoverWish = {
  /** The node to promote; left out: the most advanced replica. */
  readonly to?: string;
  /** How long transactions may take to end; left out: `TRANSACTIONS_MS`. */
  readonly waitMs?: number;
};

export class Controller {
  readonly state: Signal<State>;
  readonly #cluster: Cluster;
  readonly #deps: ControllerDeps;
  readonly #nodes: ControlNodes;
  readonly #signs = new SignsOfLife();
  readonly #effects: Effects;
  readonly #upkeep: Upkeep;
  /** Null where synchronous replication is not ours to keep. */
  readonly #keeper: SyncKeeper | null;
  readonly #chronicle: Chronicle;
  readonly #journal: LostJournal;
  readonly #hooks: Hooks;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: () => void = () => {};
  #tickedMs = 0;
  #looking = false;
  #outcome: Outcome | null = null;
  #asked: Asked | null = null;
  #working: Promise<void> | null = null;
  /** Of the hand-over under way, which an operator may give up. */
  #givingUp = new AbortController();
  /** How long the last switchover held writes, without the wait for transactions. */
  #lastPauseMs: number | null = null;

  constructor(cluster: Cluster, deps: ControllerDeps) {
    this.#cluster = cluster;
    this.#deps = deps;
    this.state = new Signal<State>(INITIAL);
    this.#nodes = new ControlNodes((node) => deps.target(node));
    const { config, log, store, clients, hooks = new Hooks(config.hooks, cluster, log) } = deps;
    this.#hooks = hooks;
    this.#keeper = keeperFor({ cluster, config, nodes: this.#nodes, store, log });
    const [nodes, signs, keeper] = [this.#nodes, this.#signs, this.#keeper];
    const chronicle = new Chronicle(store, log);
    this.#chronicle = chronicle;
    const event = (kind: string, message: string, detail: object) => chronicle.event(kind, message, detail);
    this.#journal = new LostJournal({ cluster, config, event });
    const journal = this.#journal;
    this.#effects = new Effects({ cluster, config, nodes, signs, store, clients, keeper, journal, hooks });
    this.#upkeep = new Upkeep({
      cluster,
      config,
      nodes: this.#nodes,
      effects: this.#effects,
      chronicle: this.#chronicle,
      keeper,
      hooks,
    });
  }

  start(): void {
    if (this.#timer !== undefined) return;
    const atMs = nowMs();
    this.#tickedMs = atMs;
    this.state.set(Object.freeze({ ...this.state.value, sinceMs: atMs, heardFromMs: atMs }));
    this.#unsubscribe = this.#cluster.observations.subscribe((node) => {
      this.#signs.observed(node, this.#cluster.observations);
      this.#look(0);
    });
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#upkeep.start();
    this.#keeper?.start();
  }

  /** Ends the loop. A change of primary under way is left as it is: whoever starts next adopts what it finds. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#unsubscribe();
    this.#stopping.abort();
    this.#asked?.reject(new FairleadError('shutting_down', 'Fairlead stops'));
    this.#asked = null;
    const killed = this.#hooks.stop();
    const kept = this.#keeper?.stop();
    const patience = new AbortController();
    await Promise.race([kept, sleep(LEAVE_MS, patience.signal)]);
    patience.abort();
    await this.#upkeep.stop();
    this.#nodes.close();
    await kept;
    await killed;
    await this.#working;
    await this.#journal.stop();
    await this.#chronicle.stop();
  }

  /**
   * Planned change of primary; nothing is lost. The old one cannot be made a replica over SQL: it ends fenced, until its agent has made it one.
   * @throws FairleadError `refused` with the reason
   */
  switchover(wish: SwitchoverWish = {}): Promise<Result> {
    return this.#ask(requestFor(wish));
  }

  /** What `switchover` would do now. Changes nothing. */
  planSwitchover(wish: SwitchoverWish = {}): Promise<SwitchoverPlan> {
    const state = this.state.value;
    const view = this.#view(state, nowMs(), { lateMs: 0, outcome: null, request: null });
    return planSwitchover(state, view, requestFor(wish), {
      nodes: this.#nodes,
      cluster: this.#cluster,
      preset: (node) => this.#keeper?.preset(node) ?? null,
      lastPauseMs: this.#lastPauseMs,
    });
  }

  /**
   * Gives up the switchover under way, as long as nobody is being promoted. Resolves when the old primary takes writes again.
   * @returns false when there is none. @throws FairleadError `refused` when it is too late
   */
  async cancelSwitchover(): Promise<boolean> {
    const asked = this.#asked;
    if (asked?.request.kind !== 'switchover') return false;
    if (this.state.value.work === 'hand over') this.#givingUp.abort();
    const made = await asked.ended;
    const { primary, reason } = this.state.value;
    if (made || primary === null) throw new FairleadError('refused', `too late: ${reason}`, 'look at the status');
    return true;
  }

  /**
   * Promotes without waiting for the primary's death to be confirmed; the election keeps its rules, except for `failover.max_loss`.
   * @param allowDataLoss also one that may lack commits which synchronous replication promised
   * @throws FairleadError `refused` with the reason
   */
  failover(allowDataLoss = false): Promise<Result> {
    return this.#ask({ kind: 'failover', to: null, allowDataLoss });
  }

  #ask(request: Request): Promise<Result> {
    if (this.#timer === undefined) return Promise.reject(new FairleadError('refused', 'the controller does not run'));
    if (this.#asked !== null) {
      return Promise.reject(new FairleadError('refused', `a ${this.#asked.request.kind} is under way already`));
    }
    const asked = new Asked(request);
    this.#asked = asked;
    this.#look(0);
    return asked.result;
  }

  #tick(): void {
    const atMs = nowMs();
    const lateMs = atMs - this.#tickedMs - TICK_MS;
    this.#tickedMs = atMs;
    this.#look(lateMs);
  }

  /** Looks and decides until nothing changes any more. Observations that come from within do not nest. */
  #look(lateMs: number): void {
    if (this.#looking || this.#timer === undefined) return;
    this.#looking = true;
    try {
      // an observation may be handled before the late timer itself: the gap counts whoever notices it first
      const gapMs = Math.max(lateMs, nowMs() - this.#tickedMs - TICK_MS);
      for (let i = 0; i < STEP_LIMIT && this.#step(i === 0 ? gapMs : 0); i++);
    } catch (error) {
      this.#deps.log.error({ err: error, phase: this.state.value.phase }, 'failover controller cannot decide');
    } finally {
      this.#looking = false;
    }
  }

  /** @returns true when the state changed, so that another look may decide more. */
  #step(lateMs: number): boolean {
    const before = this.state.value;
    const atMs = nowMs();
    const outcome = this.#outcome;
    this.#outcome = null;
    const asked = this.#asked !== null && !this.#asked.taken ? this.#asked : null;
    const view = this.#view(before, atMs, { lateMs, outcome, request: asked?.request ?? null });
    const { state, actions } = decide(before, view, atMs);
    if (asked !== null && state.plan !== null && state.plan !== before.plan) asked.taken = true;
    this.#publish(state);
    for (const action of actions) this.#run(action, state);
    return state.phase !== before.phase || state.work !== before.work;
  }

  #view(state: State, atMs: number, now: Pick<ViewExtras, 'lateMs' | 'outcome' | 'request'>): View {
    const extras: ViewExtras = {
      ...now,
      config: this.#deps.config,
      agents: this.#deps.agents(),
      signs: this.#signs,
      standing: this.#keeper?.standing(state.former, state.timeline) ?? null,
      receiverTimeoutMs: (node) => this.#upkeep.receiverTimeoutMs(node),
      quelled: (node) => this.#effects.quelled(node),
      diverged: (node) => this.#effects.diverged(node),
    };
    return loadView(this.#cluster, state, extras, atMs);
  }

  /** The rest of the program learns it here, before any of the actions runs. */
  #publish(state: State): void {
    const before = this.state.value;
    if (state === before) return;
    if (state.phase === 'repointing' && before.plan?.kind === 'planned') {
      const { startedMs, steps } = before.plan;
      this.#lastPauseMs = Math.round(nowMs() - startedMs - (steps?.transactions ?? 0));
    }
    if (state.phase !== before.phase) {
      this.#deps.log.info(
        { from: before.phase, to: state.phase, epoch: state.epoch, reason: state.reason },
        'failover phase',
      );
    }
    this.state.set(state);
    const told: (keyof State)[] = ['epoch', 'primary', 'timeline', 'systemId', 'phase', 'reason', 'fenced', 'forks'];
    if (told.some((key) => state[key] !== before[key])) this.#cluster.assignment.set(assignmentOf(state));
  }

  #run(action: Action, state: State): void {
    const effects = this.#effects;
    switch (action.kind) {
      case 'inspect':
        this.#work(effects.inspect(action));
        break;
      case 'validate':
        this.#work(effects.validate(action));
        break;
      case 'freeze':
        this.#work(effects.freeze(action, state));
        break;
      case 'hand over':
        this.#givingUp = new AbortController();
        this.#work(effects.handOver(action, state, this.#givingUp.signal));
        break;
      case 'fast-forward':
        this.#work(effects.forward(action, state));
        break;
      case 'promote':
        this.#work(effects.promote(action, state, this.#stopping.signal));
        break;
      case 'undo':
        this.#work(effects.undo(action));
        break;
      case 'repoint':
        this.#work(effects.repoint(action, state));
        break;
      case 'thaw':
        this.#work(effects.thaw(action));
        break;
      case 'fence':
      case 'lift':
      case 'mend':
      case 'rejoin':
        this.#upkeep.chore(action, state);
        break;
      case 'record epoch':
        this.#chronicle.epoch({
          epoch: state.epoch,
          primary: state.primary as string,
          timeline: state.timeline,
          systemId: state.systemId as string,
          forkLsn: state.forks.find((fork) => fork.timeline === state.timeline)?.forkLsn ?? null,
          reason: state.reason,
          atMs: wallMs(),
        });
        break;
      case 'demote':
        this.#deps.demote(action.node, action.primary);
        break;
      case 'event':
        this.#chronicle.event(action.name, action.message, action.detail);
        break;
      case 'refuse':
        this.#refuse(action.reason);
        break;
      case 'answer':
        this.#answer(state);
        break;
      default:
        action satisfies never;
    }
  }

  #work(work: Promise<Outcome>): void {
    this.#working = work.then(
      (outcome) => {
        this.#outcome = outcome;
        this.#look(0);
      },
      (error) => this.#deps.log.error({ err: error }, `failover work failed: ${messageOf(error)}`),
    );
  }

  #refuse(reason: string): void {
    this.#asked?.reject(new FairleadError('refused', reason));
    this.#asked = null;
  }

  #answer(state: State): void {
    const asked = this.#asked;
    this.#asked = null;
    const { primary, epoch, timeline } = state;
    if (primary !== null) asked?.resolve({ primary, epoch, timeline, tookMs: Math.round(nowMs() - asked.startedMs) });
  }
}

function requestFor({ to, waitMs }: SwitchoverWish): Request {
  return { kind: 'switchover', to: to ?? null, ...(waitMs === undefined ? {} : { waitMs }) };
}
