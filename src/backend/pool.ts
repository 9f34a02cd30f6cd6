import type { PoolSettings } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { Queue } from '../core/queue.ts';
import { ConnectionCheck } from './connection-check.ts';
import type { Counts } from './database-counters.ts';
import type { Checkout } from './exchange.ts';
import { ServerConnection } from './server-connection.ts';
import type { ServerConnectionHost } from './server-connection-host.ts';
import { LoginRefused, type LoginTarget, logIn } from './server-login.ts';
import { SharedConnections } from './shared-connections.ts';
import type { StallWatch } from './stall-watch.ts';

/** `rw` connections may write; `ro` ones open with default_transaction_read_only and only ever serve a replica. */
export type Purpose = 'rw' | 'ro';

export type PoolKey = {
  readonly node: string;
  readonly purpose: Purpose;
  readonly database: string;
  readonly user: string;
};

/** What a pool needs from all of them. */
export type PoolHost = {
  login(): LoginTarget;
  settings(): PoolSettings;
  readonly stalls: StallWatch;
  /** Of the pool's database. */
  readonly counts: Counts;
  /** Limits that it shares with other pools. */
  readonly limits: {
    room(pool: Pool, urgent: boolean): boolean;
    yields(pool: Pool): boolean;
    freed(pool: Pool): void;
  };
};

/** How long a pool makes do with the connections it has after the server refused another. */
const CROWDED_MS = 30_000;

/** How soon a login that may yet succeed is tried again, while somebody waits. */
const RETRY_MS = 100;
/** The same for one that nobody waits for. */
const WARM_RETRY_MS = 5000;

/**
 * Server connections of one node, database and user. Idle ones are used last in, first out, so that the surplus ages and is closed.
 * A failed login of an `rw` pool is tried again while sessions wait (they are held, with their own deadlines); one of an `ro` pool
 * refuses them at once, for other nodes can serve a read.
 */
export class Pool implements ServerConnectionHost {
  readonly key: PoolKey;
  /** Those of its connections that single reads share right now. */
  readonly shared: SharedConnections;
  readonly #host: PoolHost;
  readonly #idle: ServerConnection[] = [];
  readonly #all = new Set<ServerConnection>();
  readonly #waiters = new Queue<Checkout>();
  /** When the checkouts in `#waiters` came, in the same order. */
  readonly #waitingSince = new Map<Checkout, number>();
  #opening = 0;
  /** Connections that are asked whether they live, before somebody gets them. */
  #checking = 0;
  #warmAgainMs = 0;
  /** False once another pool takes its place. */
  live = true;
  /** Monotonic milliseconds of the last checkout. */
  usedMs = nowMs();
  #stopped = false;
  #crowdedUntilMs = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Monotonic milliseconds until which an `ro` pool is not worth trying. */
  brokenUntilMs = 0;
  /** Why the last login failed, while none has succeeded since. */
  failing: FairleadError | null = null;

  constructor(key: PoolKey, host: PoolHost) {
    this.key = key;
    this.#host = host;
    this.shared = new SharedConnections(this, host.stalls);
  }

  get node(): string {
    return this.key.node;
  }

  get settings(): PoolSettings {
    return this.#host.settings();
  }

  get counts(): Counts {
    return this.#host.counts;
  }

  /** Open, or being opened. */
  get totalCount(): number {
    return this.#all.size + this.#opening;
  }

  /** True while connections are there that are not used again. */
  get closing(): boolean {
    const atMs = nowMs();
    for (const connection of this.#all) if (connection.tainted || connection.retireAtMs <= atMs) return true;
    return false;
  }

  get checkingCount(): number {
    return this.#checking;
  }

  /** Idle for so long that it is asked whether it lives before it is used. */
  isStale(connection: ServerConnection, atMs: number): boolean {
    const { checkDelayMs } = this.settings;
    return checkDelayMs > 0 && atMs - connection.idleSinceMs > checkDelayMs;
  }

  /** Another pool needs one of its connections more. */
  get yields(): boolean {
    return this.#host.limits.yields(this);
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  get activeCount(): number {
    return this.#all.size - this.#idle.length - this.#checking;
  }

  get openingCount(): number {
    return this.#opening;
  }

  get waitingCount(): number {
    return this.#waiters.length;
  }

  /** How long the first checkout in the queue has waited, milliseconds. */
  longestWaitMs(atMs: number): number {
    const first = this.#waiters.peek();
    return first === undefined ? 0 : atMs - (this.#waitingSince.get(first) ?? atMs);
  }

  connections(): Iterable<ServerConnection> {
    return this.#all;
  }

  /** An idle connection at once, or null: then the checkout is queued and answered later. */
  checkout(waiter: Checkout): ServerConnection | null {
    const atMs = nowMs();
    this.usedMs = atMs;
    const idle = this.#takeIdle(waiter.holder, atMs);
    if (idle !== null) return idle;
    if (this.#stopped) {
      setImmediate(() =>
        waiter.refused(new FairleadError('connection_lost', `node ${this.key.node} is not used any more`)),
      );
      return null;
    }
    this.#waiters.push(waiter);
    this.#waitingSince.set(waiter, atMs);
    this.open();
    return null;
  }

  /** The waiter gave up. */
  withdraw(waiter: Checkout): void {
    if (this.#waiters.remove(waiter)) this.#waitingSince.delete(waiter);
  }

  /** Takes a connection back. It goes to the longest waiter, or is kept. */
  release(connection: ServerConnection): void {
    if (connection.closed) return;
    if (connection.tainted || this.#stopped || nowMs() > connection.retireAtMs) return connection.end();
    if (connection.cancelling) return connection.afterCancel(() => this.release(connection));
    const { size, reserveSize } = this.settings;
    if (this.#all.size > size + reserveSize || this.#host.limits.yields(this)) return connection.end();
    this.#offer(connection);
  }

  closed(connection: ServerConnection): void {
    this.#all.delete(connection);
    this.shared.closed(connection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    // One that broke under a statement: when a server dies its other connections break moments later, and what is tried again must not
    // meet the next of them. It gets a new one, which only a living server gives.
    if (connection.depth > 0 && !connection.tainted && !this.#stopped) {
      for (const other of this.#all) other.tainted = true;
      for (const idle of this.#idle.splice(0)) idle.end();
    }
    this.#host.limits.freed(this);
    this.open();
  }

  /** Closes what is idle too long or too old, opens what shall be kept ready. @param wanted clients of its database and user are there */
  tidy(atMs: number, wanted: boolean): void {
    const { idleTimeoutMs, size, minSize, reserveTimeoutMs } = this.settings;
    const keep = wanted ? minSize : 0;
    // the idle longest stand first
    while (this.#idle.length > 0) {
      const oldest = this.#idle[0] as ServerConnection;
      const idleMs = atMs - oldest.idleSinceMs;
      const surplus = this.#all.size > size && idleMs > reserveTimeoutMs;
      const unused = idleTimeoutMs > 0 && idleMs >= idleTimeoutMs && this.#all.size > keep;
      if (!surplus && !unused && atMs < oldest.retireAtMs) break;
      this.closeOldestIdle();
    }
    this.open();
    if (this.#stopped || this.totalCount >= keep || atMs < this.#warmAgainMs) return;
    if (this.#opening === 0 && this.#host.limits.room(this, false)) this.#launch();
  }

  closeOldestIdle(): void {
    this.#idle.shift()?.end();
  }

  /** Closes what is idle now. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.end();
  }

  /** Cuts what there is, statements in flight included; new ones may be opened. */
  cut(reason: string): void {
    for (const connection of [...this.#all]) {
      connection.tainted = true;
      connection.destroy(reason);
    }
  }

  /** Every connection there is now is closed, those in use when they are given back. */
  reconnect(): void {
    for (const connection of this.#all) connection.retireAtMs = Number.NEGATIVE_INFINITY;
    this.closeIdle();
  }

  /** No new use: idle connections close, busy ones when they are released; whoever waits is refused. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    this.closeIdle();
    this.#refuseAll(new FairleadError('connection_lost', `node ${this.key.node} is not used any more`));
  }

  /** Cuts everything, statements in flight included. */
  destroy(reason: string): void {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    for (const connection of [...this.#all]) connection.destroy(reason);
    this.#refuseAll(new FairleadError('connection_lost', `node ${this.key.node}: ${reason}`));
  }

  /** Opens connections for those who wait, as far as the limits allow. */
  open(): void {
    while (
      !this.#stopped &&
      this.#retryTimer === undefined &&
      this.#opening + this.#checking < this.#waiters.length &&
      this.totalCount < this.#most() &&
      this.#host.limits.room(this, true)
    ) {
      this.#launch();
    }
  }

  /** The reserve is for pools whose clients have waited too long. */
  #most(): number {
    const { size, reserveSize, reserveTimeoutMs } = this.settings;
    return reserveSize > 0 && this.longestWaitMs(nowMs()) >= reserveTimeoutMs ? size + reserveSize : size;
  }

  #offer(connection: ServerConnection): void {
    const waiter = this.#nextWaiter();
    if (waiter !== undefined) return waiter.granted(connection);
    connection.idleSinceMs = nowMs();
    this.#idle.push(connection);
  }

  #nextWaiter(): Checkout | undefined {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) this.#waitingSince.delete(waiter);
    return waiter;
  }

  /**
   * Best the one the session had last, then one that nobody had, then, once the pool is full, the one idle longest: what a server keeps per
   * connection and no command shows (values of sequences, counters not yet reported, variables of a library) stays with its session as
   * long as there are enough connections.
   */
  #takeIdle(holder: object | null, atMs: number): ServerConnection | null {
    const { connectTimeoutMs } = this.settings;
    for (;;) {
      const at = this.#choose(holder);
      if (at === -1) return null;
      const [connection] = this.#idle.splice(at, 1) as [ServerConnection];
      if (atMs > connection.retireAtMs || connection.tainted) connection.end();
      else if (!this.isStale(connection, atMs)) return connection;
      else {
        this.#checking++;
        ConnectionCheck.run(connection, connectTimeoutMs, () => {
          this.#checking--;
          if (connection.closed) this.open();
          else this.release(connection);
        });
        return null;
      }
    }
  }

  #choose(holder: object | null): number {
    let free = -1;
    for (let i = this.#idle.length - 1; i >= 0; i--) {
      const { home } = this.#idle[i] as ServerConnection;
      if (home === holder && home !== null) return i;
      if (home === null && free === -1) free = i;
    }
    if (free !== -1 || this.#idle.length === 0) return free;
    const room =
      this.totalCount < this.settings.size && nowMs() > this.#crowdedUntilMs && this.#host.limits.room(this, false);
    return room ? -1 : 0;
  }

  #launch(): void {
    const { lifetimeMs, connectTimeoutMs } = this.settings;
    this.#opening++;
    logIn({ ...this.#host.login(), timeoutMs: connectTimeoutMs }).then(
      (login) => {
        this.#opening--;
        const connection = new ServerConnection(this, login);
        // jitter, so that connections opened together are not replaced together
        connection.retireAtMs = connection.openedMs + lifetimeMs * (0.9 + 0.2 * Math.random());
        this.#all.add(connection);
        this.brokenUntilMs = 0;
        this.failing = null;
        // it serves once, however short its life
        if (this.#stopped) connection.end();
        else this.#offer(connection);
      },
      (error) => {
        this.#opening--;
        this.#failed(error);
        this.#host.limits.freed(this);
      },
    );
  }

  #failed(error: unknown): void {
    const known = error instanceof FairleadError ? error : new FairleadError('server_unreachable', messageOf(error));
    this.failing = known;
    this.#warmAgainMs = nowMs() + WARM_RETRY_MS;
    const transient = known.code === 'server_unreachable' || (known instanceof LoginRefused && known.transient);
    // also when the login itself is refused: a replica may not have replayed yet what makes it possible
    if (this.key.purpose === 'ro') this.brokenUntilMs = nowMs() + 1000;
    // another one was wanted only so that a session may have its own
    if (this.#idle.length > 0) {
      this.#crowdedUntilMs = nowMs() + CROWDED_MS;
      for (;;) {
        const waiter = this.#idle.length > 0 ? this.#nextWaiter() : undefined;
        if (waiter === undefined) return;
        waiter.granted(this.#idle.shift() as ServerConnection);
      }
    }
    if (this.key.purpose === 'ro' || !transient) return this.#refuseAll(known);
    if (this.#retryTimer !== undefined || this.#waiters.length === 0 || this.#stopped) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.open();
    }, RETRY_MS);
  }

  #refuseAll(error: FairleadError): void {
    const waiting: Checkout[] = [];
    for (let waiter = this.#nextWaiter(); waiter !== undefined; waiter = this.#nextWaiter()) waiting.push(waiter);
    for (const waiter of waiting) waiter.refused(error);
  }
}
