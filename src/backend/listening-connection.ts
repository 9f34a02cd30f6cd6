/**
 * The one connection that listens for all sessions of a database. It leads to the primary, listens on each channel once however many
 * sessions wait for it, and is made anew where the primary is. What it is asked goes out in rounds: one text for everything that
 * came up since the last. PostgreSQL sends what was notified before a round ahead of that round's answer, and that is the only clock here:
 * a session that joins with a round gets nothing older.
 */
import type { Topology } from '../cluster/topology.ts';
import { nowMs } from '../core/clock.ts';
import { type FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { SERVER } from '../wire/message-type.ts';
import { query } from '../wire/writer.ts';
import { Exchange, type ExchangeOwner } from './exchange.ts';
import type { LinkHolder } from './link-holder.ts';
import { channelStatements, notificationFrom, readNotification } from './notification.ts';
import type { Identity } from './pools.ts';
import { ServerConnection } from './server-connection.ts';
import { LoginRefused, type LoginTarget, logIn } from './server-login.ts';

/** A session that listens. */
export interface ChannelListener {
  /** @param message a NotificationResponse, shared with others */
  notified(channel: string, message: Buffer): void;
  /** The connection broke: what was notified meanwhile is lost. */
  missed(): void;
}

/** Somebody who waits until the server listens on a channel. */
export type Join = {
  readonly listener: ChannelListener;
  readonly channel: string;
  /** Called once, when the listener gets what is notified from now on; an error when that cannot be. Not called after `leave`. */
  readonly done: (error: FairleadError | null) => void;
};

export type ListeningHost = {
  readonly database: string;
  /** In the order in which they are tried. */
  identities(): readonly Identity[];
  login(node: string, identity: Identity): LoginTarget;
  topology(): Topology;
  /** Process id that the client was told who uses, or used last, a server connection of ours; null when it is none of ours. */
  clientPidOf(node: string, serverPid: number): number | null;
  /** False for a primary that hands over its role: it has nothing left to notify. */
  mayMiss(node: string): boolean;
  /** It listens again, or will not be waited for any longer. */
  ready(): void;
  readonly log: Log;
};

type Round = {
  readonly startedMs: number;
  joins: readonly Join[];
  readonly listen: ReadonlySet<string>;
  readonly unlisten: readonly string[];
  readonly barriers: readonly (() => void)[];
};

const RETRY_MS = 100;
/** How long writes wait on a new primary for its listening connection. */
const GRACE_MS = 5000;
/** A round that takes longer is taken for a dead connection. */
const SILENT_MS = 10_000;
/** Kept so long without anybody who listens. */
const LINGER_MS = 10_000;

export class ListeningConnection implements LinkHolder, ExchangeOwner {
  readonly clientPid = null;
  readonly #host: ListeningHost;
  readonly #listeners = new Map<string, Set<ChannelListener>>();
  /** Channels that the server listens on. */
  readonly #applied = new Set<string>();
  /** Channels that may have to be listened on, or no longer. */
  #changed = new Set<string>();
  #joins: Join[] = [];
  #barriers: (() => void)[] = [];
  #server: ServerConnection | null = null;
  #opening = false;
  #round: Round | null = null;
  #scheduled = false;
  /** The server listens on all that anybody listens on. */
  #restored = false;
  #retry: NodeJS.Timeout | undefined;
  #graceUntilMs = 0;
  #grace: NodeJS.Timeout | undefined;
  #unusedSinceMs = nowMs();
  #ended = false;
  /** Monotonic milliseconds: what was notified before has been passed on. */
  drainedMs = 0;

  constructor(host: ListeningHost) {
    this.#host = host;
  }

  get listens(): boolean {
    return this.#restored;
  }

  get channels(): number {
    return this.#listeners.size;
  }

  /** Nobody listens, or waits for anything of it. */
  get unused(): boolean {
    return this.#listeners.size + this.#joins.length + this.#barriers.length === 0 && this.#round === null;
  }

  /** True while a write could notify sessions that listen already, and they would not hear it. */
  get behind(): boolean {
    const primary = this.#host.topology().primary?.name ?? null;
    const current = this.#restored && this.#server?.host.node === primary;
    return !current && this.#listeners.size > 0 && nowMs() < this.#graceUntilMs;
  }

  join(join: Join): void {
    this.#joins.push(join);
    this.#changed.add(join.channel);
    this.#connect();
    this.#schedule();
  }

  /** It hears nothing of the channel from now on, and a join that waits is forgotten. */
  leave(listener: ChannelListener, channel: string): void {
    const stays = (join: Join) => join.listener !== listener || join.channel !== channel;
    this.#joins = this.#joins.filter(stays);
    if (this.#round !== null) this.#round.joins = this.#round.joins.filter(stays);
    const listeners = this.#listeners.get(channel);
    listeners?.delete(listener);
    if (listeners !== undefined && listeners.size > 0) return;
    this.#listeners.delete(channel);
    this.#changed.add(channel);
    this.#unusedSinceMs = nowMs();
    this.#schedule();
  }

  /** Calls `done` when everything that was notified before has been passed on; at once while there is no connection. */
  barrier(done: () => void): void {
    if (!this.#restored) return done();
    this.#barriers.push(done);
    this.#schedule();
  }

  /** The primary may be another, or there is one again. */
  follow(fenced: (node: string) => boolean): void {
    const primary = this.#host.topology().primary;
    const node = this.#server?.host.node;
    if (primary !== null && primary.name !== node) this.#startGrace();
    if (node !== undefined && (fenced(node) || (primary !== null && primary.name !== node))) {
      this.#server?.destroy('no longer the primary');
    }
    this.#connect();
  }

  /** Looks whether the connection lives. @returns false when it has not been needed for a while */
  check(atMs: number): boolean {
    if (this.#round !== null && atMs - this.#round.startedMs > SILENT_MS) this.#server?.destroy('no answer');
    if (this.unused && atMs - this.#unusedSinceMs > LINGER_MS) return false;
    if (this.#restored && this.#listeners.size > 0) this.barrier(() => {});
    return true;
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    this.#server?.end();
  }

  // --- the connection ------------------------------------------------------------------------------------------------

  #connect(): void {
    const primary = this.#host.topology().primary;
    if (this.#ended || this.#server !== null || this.#opening || primary === null) return;
    if (this.#listeners.size === 0 && this.#joins.length === 0) return;
    this.#opening = true;
    clearTimeout(this.#retry);
    this.#logIn(primary.name).then(
      (server) => {
        this.#opening = false;
        this.#begin(server, primary.name);
      },
      (error) => {
        this.#opening = false;
        this.#refused(error);
      },
    );
  }

  async #logIn(node: string): Promise<ServerConnection> {
    let refusal: unknown = null;
    for (const identity of this.#host.identities()) {
      try {
        return new ServerConnection({ node, closed() {} }, await logIn(this.#host.login(node, identity)));
      } catch (error) {
        if (!(error instanceof LoginRefused) || error.transient) throw error;
        refusal ??= error;
      }
    }
    throw refusal;
  }

  #begin(server: ServerConnection, node: string): void {
    if (this.#ended || this.#host.topology().primary?.name !== node || server.closed) {
      server.end();
      return this.#again();
    }
    server.holder = this;
    this.#server = server;
    this.#changed = new Set(this.#listeners.keys());
    for (const { channel } of this.#joins) this.#changed.add(channel);
    this.#run();
  }

  #refused(error: unknown): void {
    this.#host.log.debug({ database: this.#host.database, error: messageOf(error) }, 'no listening connection');
    if (error instanceof LoginRefused && !error.transient) {
      const joins = this.#joins;
      this.#joins = [];
      for (const join of joins) join.done(error);
    }
    this.#again();
  }

  #again(): void {
    if (this.#ended) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), RETRY_MS).unref();
  }

  /** The connection ended. */
  closed(error: FairleadError): void {
    const node = this.#server?.host.node ?? '';
    const round = this.#round;
    const lived = this.#restored;
    this.#server = null;
    this.#round = null;
    this.#restored = false;
    this.#applied.clear();
    if (round !== null) this.#joins.unshift(...round.joins);
    const barriers = [...(round?.barriers ?? []), ...this.#barriers];
    this.#barriers = [];
    for (const done of barriers) done();
    if (this.#ended) return;
    if (this.#listeners.size > 0) {
      const missed = this.#host.mayMiss(node);
      const fields = { database: this.#host.database, node, channels: this.#listeners.size, error: error.message };
      if (missed) this.#host.log.warn(fields, 'the listening connection broke: notifications may have been missed');
      this.#startGrace();
      if (missed)
        for (const listener of new Set([...this.#listeners.values()].flatMap((s) => [...s]))) listener.missed();
    }
    // one that broke before it listened is not tried in a circle
    if (lived) this.#connect();
    else this.#again();
  }

  #startGrace(): void {
    if (this.#ended) return;
    this.#graceUntilMs = nowMs() + GRACE_MS;
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => this.#host.ready(), GRACE_MS + 1).unref();
  }

  // --- rounds --------------------------------------------------------------------------------------------------------

  /** What comes up in one turn of the event loop goes into one round. */
  #schedule(): void {
    if (this.#scheduled || this.#server === null) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#round === null) this.#run();
    });
  }

  #run(): void {
    const server = this.#server;
    if (server === null || server.closed) return;
    const joined = new Set(this.#joins.map((join) => join.channel));
    const listen = new Set<string>();
    const unlisten: string[] = [];
    for (const channel of this.#changed) {
      const wanted = joined.has(channel) || this.#listeners.has(channel);
      if (wanted && !this.#applied.has(channel)) listen.add(channel);
      else if (!wanted && this.#applied.has(channel)) unlisten.push(channel);
    }
    this.#changed.clear();
    const idle = this.#joins.length + this.#barriers.length + listen.size + unlisten.length === 0;
    if (idle && this.#restored) return;
    this.#round = { startedMs: nowMs(), joins: this.#joins, listen, unlisten, barriers: this.#barriers };
    this.#joins = [];
    this.#barriers = [];
    server.submit(new Exchange(this, false, nowMs()), [query(channelStatements(listen, unlisten))]);
  }

  finished(exchange: Exchange): void {
    const round = this.#round;
    this.#round = null;
    if (round === null) return;
    if (exchange.sqlState !== null) {
      // the statements are ours: nothing that another try on the same connection would mend
      this.#round = round;
      this.#server?.destroy(`SQLSTATE ${exchange.sqlState}`);
      return;
    }
    for (const channel of round.listen) this.#applied.add(channel);
    for (const channel of round.unlisten) this.#applied.delete(channel);
    this.drainedMs = round.startedMs;
    const restored = !this.#restored;
    this.#restored = true;
    for (const join of round.joins) {
      const listeners = this.#listeners.get(join.channel);
      if (listeners === undefined) this.#listeners.set(join.channel, new Set([join.listener]));
      else listeners.add(join.listener);
      join.done(null);
    }
    for (const done of round.barriers) done();
    if (restored) {
      clearTimeout(this.#grace);
      this.#host.ready();
    }
    this.#run();
  }

  async(buffer: Buffer, start: number, end: number): void {
    if (buffer[start] !== SERVER.NOTIFICATION) return;
    const { pid, channel } = readNotification(buffer, start, end);
    const listeners = this.#listeners.get(channel);
    if (listeners === undefined) return;
    const message = notificationFrom(this.clientPidOf(pid), buffer, start, end);
    for (const listener of listeners) listener.notified(channel, message);
  }

  /** The pid that a client was told; the server's own for whoever came another way. */
  clientPidOf(serverPid: number): number {
    const node = this.#server?.host.node;
    return (node === undefined ? null : this.#host.clientPidOf(node, serverPid)) ?? serverPid;
  }

  // --- what a statement of our own does not need ---------------------------------------------------------------------

  reply(): void {}
  copyIn(): void {}
  refused(): void {}
  lost(): void {}
}
