/**
 * The channels that one session listens on through the shared listening connection of its database, and the notifications that
 * wait for the session to be between two transactions.
 */
import type { ChannelListener, ListeningConnection } from '../backend/listening-connection.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import type { ListenStep } from '../sql/verdict.ts';
import { noticeResponse } from '../wire/writer.ts';
import type { Transaction } from './client-output.ts';
import { PendingChannels } from './pending-channels.ts';
import type { Services } from './services.ts';

export type SubscriptionsHost = {
  /** Between two requests, in no transaction: a notification may be passed on. */
  readonly quiet: boolean;
  /** Bytes that the client has not taken. */
  readonly unsentBytes: number;
  tell(bytes: Buffer): void;
  terminate(error: FairleadError): void;
  /** The shared connection of the session's database. */
  listeningConnection(): ListeningConnection;
};

/** An answer that waits for all that was notified before waits no longer than this. */
const SETTLE_MS = 250;

export class Subscriptions implements ChannelListener {
  readonly #host: SubscriptionsHost;
  readonly #services: Services;
  #channels: ReadonlySet<string> = new Set();
  readonly #pending = new PendingChannels();
  /** Heard ahead of the statement, or of the COMMIT, that makes it so. */
  readonly #early = new Set<string>();
  #waiting: { readonly channel: string; readonly message: Buffer }[] = [];
  #waitingBytes = 0;
  /** Gives up the channels that are waited for. */
  #abandon: () => void = () => {};
  /** A warning to be given. */
  #warn = false;

  constructor(host: SubscriptionsHost, services: Services) {
    this.#host = host;
    this.#services = services;
  }

  /** True while anything that is notified may be for this session. */
  get active(): boolean {
    return this.#channels.size > 0 || this.#early.size > 0;
  }

  /** True when what is notified there comes this way, now or when it may. */
  has(channel: string): boolean {
    return this.#channels.has(channel) || this.#early.has(channel);
  }

  /** Channels whose LISTEN has taken effect, in that order. */
  get channels(): readonly string[] {
    return [...this.#channels];
  }

  // --- statements ----------------------------------------------------------------------------------------------------

  /** LISTEN outside of transactions. `then` is called when whatever is notified from now on arrives. */
  listen(channel: string, then: (error: FairleadError | null) => void): void {
    if (this.#channels.has(channel)) return then(null);
    this.#join([channel], (error) => {
      if (error === null) this.#channels = new Set([...this.#channels, channel]);
      then(error);
    });
  }

  /** UNLISTEN outside of transactions. */
  unlisten(channel: string | null): void {
    this.#become(new Set([...this.#channels].filter((one) => channel !== null && one !== channel)));
  }

  /** LISTEN and UNLISTEN inside a transaction. */
  note(step: ListenStep): void {
    this.#pending.note(step);
  }

  /** Before a request goes to the server: what it, or the transaction that it commits, will listen on must be heard when that happens. */
  ahead(listens: readonly string[], commits: boolean, then: (error: FairleadError | null) => void): void {
    const wanted = commits ? this.#pending.effectOn(new Set([...this.#channels, ...listens])) : new Set(listens);
    for (const channel of listens) wanted.add(channel);
    const missing = [...wanted].filter((channel) => !this.#channels.has(channel) && !this.#early.has(channel));
    for (const channel of missing) this.#early.add(channel);
    this.#join(missing, then);
  }

  /**
   * An exchange was answered.
   * @param several it had other statements beside each of the steps: of those of a failed exchange nobody knows which ran
   */
  answered(
    steps: readonly ListenStep[],
    succeeded: boolean,
    several: boolean,
    before: Transaction,
    now: Transaction,
  ): void {
    for (const step of steps) {
      switch (step.kind) {
        case 'commit':
          if (succeeded && before !== 'failed') this.#commit();
          else this.#pending.clear();
          break;
        case 'listen':
        case 'unlisten':
          if (succeeded) this.#pending.note(step);
          break;
        case 'savepoint':
        case 'release':
        case 'rollback to':
          if (succeeded || several) this.#pending.note(step);
          break;
        default:
          this.#pending.clear();
      }
    }
    if (now !== 'none') return;
    if (succeeded) this.#commit();
    else this.#forget();
  }

  /** Everything is undone that waited for a COMMIT: the transaction is gone. */
  #forget(): void {
    this.#pending.clear();
    if (this.#early.size > 0) this.#become(this.#channels);
  }

  #commit(): void {
    if (this.#pending.empty && this.#early.size === 0) return this.#pending.clear();
    const after = this.#pending.effectOn(this.#channels);
    this.#pending.clear();
    this.#become(new Set([...after].filter((channel) => this.#channels.has(channel) || this.#early.has(channel))));
  }

  /** @param channels all of which are listened on already */
  #become(channels: ReadonlySet<string>): void {
    const listening = this.#host.listeningConnection();
    const gone = new Set([...this.#channels, ...this.#early].filter((channel) => !channels.has(channel)));
    for (const channel of gone) listening.leave(this, channel);
    this.#channels = channels;
    this.#early.clear();
    if (gone.size === 0 || this.#waiting.length === 0) return;
    // as PostgreSQL does, which looks at what was notified in a transaction's time when that is over
    this.#waiting = this.#waiting.filter(({ channel }) => !gone.has(channel));
    this.#waitingBytes = this.#waiting.reduce((sum, { message }) => sum + message.length, 0);
  }

  /** Whoever waits for a channel does not want it any more, and is not called. */
  abandon(): void {
    const abandon = this.#abandon;
    this.#abandon = () => {};
    abandon();
  }

  /** `then` is called once: when the server listens on all of them, or when there has been no primary for `failover.hold`. */
  #join(channels: readonly string[], then: (error: FairleadError | null) => void): void {
    if (channels.length === 0) return then(null);
    const { deadlines } = this.#services;
    const { hold } = this.#services.config().failover;
    let left = channels.length;
    const finish = (error: FairleadError | null) => {
      if (left <= 0) return;
      left = error === null ? left - 1 : 0;
      if (left > 0) return;
      if (error !== null) this.abandon();
      this.#abandon = () => {};
      deadlines.clear(late);
      then(error);
    };
    const late = {
      deadlineMs: Number.POSITIVE_INFINITY,
      expire: () => finish(new FairleadError('no_primary', `nothing could be listened on for ${hold} ms`)),
    };
    this.#abandon = () => {
      left = 0;
      deadlines.clear(late);
      for (const channel of channels) {
        this.#host.listeningConnection().leave(this, channel);
        this.#early.delete(channel);
      }
    };
    deadlines.set(late, nowMs() + hold);
    for (const channel of channels) this.#host.listeningConnection().join({ listener: this, channel, done: finish });
  }

  // --- notifications -------------------------------------------------------------------------------------------------

  notified(channel: string, message: Buffer): void {
    if (this.#host.quiet && this.#waiting.length === 0) this.#host.tell(message);
    else {
      this.#waiting.push({ channel, message });
      this.#waitingBytes += message.length;
    }
    const limit = this.#services.config().pool.notification_backlog;
    if (this.#waitingBytes + this.#host.unsentBytes <= limit) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const text = `more than ${limit} bytes of notifications were waiting for this client`;
    this.#host.terminate(new FairleadError('notifications_unread', text));
  }

  missed(): void {
    this.#warn = true;
    if (this.#host.quiet) this.flush();
  }

  /** Passes on what has come meanwhile. Only to be called between two messages, in no transaction. */
  flush(): void {
    if (this.#warn) {
      this.#warn = false;
      const text = 'notifications may have been missed: the connection that listens for this session broke';
      this.#host.tell(noticeResponse('WARNING', '01000', text, 'look at what the notifications are about'));
    }
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const { message } of waiting) this.#host.tell(message);
  }

  /** Calls `then` when all that was notified before has arrived, soon in any case: what a session notified comes before its answer ends. */
  settle(then: () => void): void {
    const { deadlines } = this.#services;
    let settled = false;
    const finish = () => {
      if (settled) return;
      settled = true;
      deadlines.clear(late);
      then();
    };
    const late = { deadlineMs: Number.POSITIVE_INFINITY, expire: finish };
    deadlines.set(late, nowMs() + SETTLE_MS);
    this.#host.listeningConnection().barrier(finish);
  }

  /** Monotonic milliseconds: what was notified before has arrived. */
  get drainedMs(): number {
    return this.#host.listeningConnection().drainedMs;
  }

  /** The session is over. */
  end(): void {
    this.abandon();
    this.#pending.clear();
    this.#waiting = [];
    if (this.active) this.#become(new Set());
  }
}
