import type { Checkout } from '../backend/exchange.ts';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { LoginRefused } from '../backend/server-login.ts';
import type { LsnWaiter } from '../cluster/lsn-waiters.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import { nowMs } from '../core/clock.ts';
import type { Expiring } from '../core/deadlines.ts';
import { FairleadError } from '../core/errors.ts';
import type { Lsn } from '../core/lsn.ts';
import type { RouteDecision, RouteReason, Wait } from '../routing/decision.ts';
import type { Awaited } from '../routing/patience.ts';
import { nextTurn, routeRead } from '../routing/route-read.ts';
import type { PlacementRequest } from './placement-request.ts';
import type { Services } from './services.ts';

export type Placed = {
  readonly connection: ServerConnection;
  readonly pool: Pool;
  readonly node: TopologyNode;
  readonly reason: RouteReason;
  /** What a read on a replica must have seen; null: nothing, or it is none. */
  readonly floor: Lsn | null;
  /** Others use the connection too. */
  readonly shared: boolean;
};

/** Exactly one of the two is called for each `seek`, unless it is aborted. May be called from inside `seek`. */
export type PlacementClient = {
  placed(where: Placed): void;
  unplaceable(error: FairleadError): void;
};

type State = 'none' | 'sample' | 'lsn' | 'hold' | 'checkout';

/** There is no wait to take back. */
const NOTHING = () => {};

/** Waits longer than this many milliseconds for the primary's position are given up like any other wait for freshness. */
const NEVER = Number.POSITIVE_INFINITY;

/** How soon a read that is held looks again by itself; each time it takes twice as long. */
const LOOK_AGAIN_MS = { first: 50, most: 400 } as const;

/** Finds the server connection that a statement may run on, waiting as long as the contract allows: for freshness, a primary, a free connection. */
export class Placement implements Checkout, Expiring {
  deadlineMs = NEVER;
  readonly #services: Services;
  readonly #client: PlacementClient;
  #state: State = 'none';
  #request: PlacementRequest | null = null;
  #avoid: Set<string> | null = null;
  #strongSample = 0;
  #waited = false;
  #waitOver = false;
  #freshUntilMs = NEVER;
  #holdUntilMs = NEVER;
  #pool: Pool | null = null;
  #node: TopologyNode | null = null;
  /** The node that its session keeps a connection to, while that hands over. */
  #kept: { readonly node: string; readonly then: () => void } | null = null;
  #reason: RouteReason = 'write';
  #floor: Lsn | null = null;
  #lookAgainMs: number = LOOK_AGAIN_MS.first;
  /** When the checkout began to wait. */
  #checkoutMs = 0;
  #waiter: LsnWaiter | null = null;
  #awaited: Awaited | null = null;
  /** Takes back the wait for a sample. */
  #unwait = NOTHING;
  /** Tells wakes of this wait from those of earlier ones. */
  #generation = 0;

  constructor(services: Services, client: PlacementClient) {
    this.#services = services;
    this.#client = client;
  }

  get holder(): object {
    return this.#client;
  }

  /** What it waits for, for people; null when it does not. */
  get waitingFor(): string | null {
    return this.#state === 'none' ? null : this.#state;
  }

  seek(request: PlacementRequest): void {
    this.#request = request;
    this.#avoid = request.avoid === null ? null : new Set(request.avoid);
    this.#strongSample = request.read?.consistency === 'strong' ? this.#services.cluster.samples.next : 0;
    this.#waited = false;
    this.#waitOver = false;
    this.#awaited = null;
    this.#freshUntilMs = NEVER;
    this.#holdUntilMs = NEVER;
    this.#lookAgainMs = LOOK_AGAIN_MS.first;
    this.#place();
  }

  /** Its session keeps a connection to a node that hands over: `then` is called when that takes writes again, `unplaceable` when that takes too long. */
  keep(node: string, then: () => void): void {
    this.#kept = { node, then };
    this.#holdUntilMs = NEVER;
    this.#hold();
  }

  /** True while a request waits for the connection that its session keeps. */
  get keeps(): boolean {
    return this.#kept !== null;
  }

  /** Gives up without calling anybody. */
  abort(): void {
    this.#leave();
    this.#request = null;
  }

  granted(connection: ServerConnection): void {
    const pool = this.#pool as Pool;
    if (this.#state !== 'checkout') return pool.release(connection);
    this.#arrive(connection, pool, this.#node as TopologyNode);
  }

  refused(error: FairleadError): void {
    if (this.#state !== 'checkout') return;
    const { purpose } = (this.#pool as Pool).key;
    const node = this.#node as TopologyNode;
    this.#leave();
    if (error instanceof LoginRefused && !error.transient && purpose === 'rw') return this.#fail(error);
    if (error.code === 'server_login_failed' && purpose === 'rw') return this.#fail(error);
    if (purpose === 'ro') {
      this.#avoid ??= new Set();
      this.#avoid.add(node.name);
    }
    this.#place();
  }

  topologyChanged(): void {
    if (this.#state !== 'hold') return;
    const kept = this.#kept;
    if (kept === null) return this.#wake();
    // where somebody else is the primary the connection ends
    if (this.#services.cluster.topology.value.primary?.name !== kept.node) return this.#services.holdRoom.enter(this);
    this.#leave();
    kept.then();
  }

  expire(): void {
    const state = this.#state;
    if (state === 'checkout' && this.#waitOn(nowMs())) return;
    const pool = this.#pool;
    this.#leave();
    if (state === 'lsn' && this.#awaited !== null)
      this.#services.patience.inVain(this.#awaited, nowMs(), this.#freshnessWait);
    if (state === 'sample' || state === 'lsn') {
      this.#waitOver = true;
      return this.#place();
    }
    if (state === 'hold') return this.#heldOn();
    if (state !== 'checkout' || pool === null) return;
    const { pool: limits, failover } = this.#services.config();
    if (pool.failing !== null) {
      const text = `the primary ${pool.node} took no connection for ${failover.hold} ms: ${pool.failing.message}`;
      return this.#fail(new FairleadError('no_primary', text));
    }
    const text = `no server connection to ${pool.node} became free within ${limits.checkout_timeout} ms`;
    this.#fail(new FairleadError('checkout_timeout', text));
  }

  /** A checkout waits for `hold` while the server takes no logins, else for `checkout_timeout`: which of them may change meanwhile. */
  #waitOn(atMs: number): boolean {
    const { pool, failover } = this.#services.config();
    const untilMs = this.#checkoutMs + (this.#pool?.failing ? failover.hold : pool.checkout_timeout || NEVER);
    if (atMs >= untilMs) return false;
    this.#services.deadlines.set(this, untilMs);
    return true;
  }

  #place(): void {
    const request = this.#request;
    if (request === null) return;
    const decision = this.#decide(request);
    switch (decision.kind) {
      case 'node':
        this.#floor = decision.floor;
        return this.#checkout(decision.node, decision.reason, request);
      case 'wait':
        if (!this.#mayWait(decision.awaited)) return this.#place();
        this.#state = 'lsn';
        this.#startWaiting();
        return this.#awaitNews(decision, () => this.#caughtUp());
      case 'sample':
        this.#state = 'sample';
        this.#startWaiting();
        return this.#awaitNews(decision, () => this.#wake());
      case 'hold':
        return this.#holdRequest(request, decision.news);
      default:
        decision satisfies never;
    }
  }

  #holdRequest(request: PlacementRequest, news: Wait | null): void {
    const paused = this.#services.cluster.topology.value.paused || this.#databasePaused(request);
    this.#hold(paused);
    if (request.read === null || paused) return;
    // what time alone changes nobody tells: a pool takes connections again, a lag shrinks
    this.#services.deadlines.set(this, Math.min(this.#holdUntilMs, nowMs() + this.#lookAgainMs));
    this.#lookAgainMs = Math.min(this.#lookAgainMs * 2, LOOK_AGAIN_MS.most);
    if (news !== null && !this.#isOld(news)) this.#awaitNews(news, () => this.#wake());
  }

  /** Nobody told it anything: it looks again, also where it was refused meanwhile. */
  #heldOn(): void {
    const request = this.#request;
    if (request === null || nowMs() >= this.#holdUntilMs) return this.#fail(noPrimary(this.#services));
    this.#avoid = request.avoid === null ? null : new Set(request.avoid);
    this.#place();
  }

  /** Somebody is there already, and that did not help: each step of his would wake what is held, a thousand times a second. */
  #isOld(news: Wait): boolean {
    const { cluster } = this.#services;
    if (news.kind !== 'wait') return false;
    return cluster.nodes.some(({ name }) => {
      const { last, failure } = cluster.observations.of(name);
      return failure === null && last?.role !== 'primary' && cluster.replayLsn(name) >= news.lsn;
    });
  }

  #awaitNews(news: Wait, wake: () => void): void {
    const { waiters, samples } = this.#services.cluster;
    if (news.kind === 'wait') {
      this.#waiter = { lsn: news.lsn, told: news.told, wake };
      return waiters.add(this.#waiter);
    }
    const generation = ++this.#generation;
    this.#unwait = samples.wait(news.index, () => {
      if (generation === this.#generation) wake();
    });
  }

  #hold(paused = false): void {
    this.#state = 'hold';
    if (this.#holdUntilMs === NEVER) this.#holdUntilMs = nowMs() + this.#services.config().failover.hold;
    this.#services.deadlines.set(this, paused ? NEVER : this.#holdUntilMs);
    this.#services.holdRoom.enter(this);
  }

  #decide(request: PlacementRequest): RouteDecision {
    const { cluster, pools, notifications } = this.#services;
    if (this.#databasePaused(request)) return { kind: 'hold', news: null };
    if (request.read !== null) {
      return routeRead(
        {
          ...request.read,
          strongSample: this.#strongSample,
          waited: this.#waited,
          waitOver: this.#waitOver,
          avoid: this.#avoid,
        },
        cluster,
        (node) => pools.load(node, request.database, request.identity),
      );
    }
    const { paused, primary } = cluster.topology.value;
    if (!cluster.vigil.sound(nowMs())) return { kind: 'hold', news: null };
    // what it notifies is to be heard: a new primary is listened to first
    if (paused || primary === null || (!request.readOnly && notifications.behind(request.database)))
      return { kind: 'hold', news: null };
    return { kind: 'node', node: primary, reason: request.reason, floor: null };
  }

  #databasePaused({ database }: PlacementRequest): boolean {
    return this.#services.cluster.operator.value.pausedDatabases.has(database);
  }

  get #freshnessWait(): number {
    return this.#services.config().routing.freshness_wait;
  }

  /** Where waits are in vain the primary, if there is one, is asked at once. */
  #mayWait(awaited: Awaited | null): boolean {
    const { patience, cluster } = this.#services;
    const again = awaited !== null && awaited === this.#awaited;
    this.#awaited = awaited;
    if (awaited === null || again || cluster.topology.value.primary === null) return true;
    this.#waitOver = !patience.mayWait(awaited, nowMs(), this.#freshnessWait);
    return !this.#waitOver;
  }

  #startWaiting(): void {
    this.#waited = true;
    if (this.#freshUntilMs === NEVER) this.#freshUntilMs = nowMs() + this.#freshnessWait;
    this.#services.deadlines.set(this, this.#freshUntilMs);
  }

  #caughtUp(): void {
    if (this.#awaited !== null) this.#services.patience.rewarded(this.#awaited);
    this.#wake();
  }

  #wake(): void {
    this.#leave();
    this.#place();
  }

  #checkout(node: TopologyNode, reason: RouteReason, request: PlacementRequest): void {
    const { pools, cluster, deadlines } = this.#services;
    if (request.read !== null) nextTurn();
    const purpose = cluster.topology.value.primary === node && !request.readOnly ? 'rw' : 'ro';
    const pool = pools.of(node, purpose, request.database, request.identity);
    this.#pool = pool;
    this.#node = node;
    this.#reason = reason;
    const seat = request.rider === null ? null : pool.shared.seat(request.rider, nowMs());
    if (seat !== null) return this.#arrive(seat, pool, node, true);
    this.#state = 'checkout';
    const connection = pool.checkout(this);
    if (connection !== null) return this.#arrive(connection, pool, node);
    const { pool: limits, failover } = this.#services.config();
    this.#checkoutMs = nowMs();
    deadlines.set(this, this.#checkoutMs + Math.min(limits.checkout_timeout || NEVER, failover.hold));
  }

  #arrive(connection: ServerConnection, pool: Pool, node: TopologyNode, shared = false): void {
    this.#state = 'none';
    this.#services.deadlines.clear(this);
    this.#request = null;
    this.#client.placed({ connection, pool, node, reason: this.#reason, floor: this.#floor, shared });
  }

  #leave(): void {
    this.#services.deadlines.clear(this);
    if (this.#waiter !== null) this.#services.cluster.waiters.remove(this.#waiter);
    this.#waiter = null;
    this.#unwait();
    this.#unwait = NOTHING;
    this.#generation++;
    if (this.#state === 'hold') this.#services.holdRoom.leave(this);
    if (this.#state === 'checkout') this.#pool?.withdraw(this);
    this.#kept = null;
    this.#state = 'none';
  }

  #fail(error: FairleadError): void {
    this.#request = null;
    this.#client.unplaceable(error);
  }
}

/** Nobody has been primary for as long as clients wait. */
export function noPrimary({ cluster, config }: Services): FairleadError {
  const { reason, phase, primary } = cluster.topology.value;
  if (primary !== null) {
    return new FairleadError('no_primary', 'Fairlead stood still, and the primary has not answered since');
  }
  const { hold } = config().failover;
  return new FairleadError('no_primary', `there has been no primary for ${hold} ms (${phase}: ${reason})`);
}
