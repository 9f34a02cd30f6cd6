import type { Socket } from 'node:net';
import type { Incarnation } from '../cluster/incarnations.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { abortSocket } from '../transport/abort-socket.ts';
import { STATUS } from '../wire/message-type.ts';
import { TERMINATE } from '../wire/writer.ts';
import { Cancels } from './cancel-request.ts';
import type { Exchange } from './exchange.ts';
import { ExchangeQueue } from './exchange-queue.ts';
import type { LinkHolder } from './link-holder.ts';
import type { ServerConnectionHost } from './server-connection-host.ts';
import type { LoggedIn } from './server-login.ts';
import { ServerOutput } from './server-output.ts';
import { ServerReplies } from './server-replies.ts';
import { ServerStatements } from './server-statements.ts';
import { NO_SETTINGS, type SettingsSet } from './settings-set.ts';
import type { SharedConnection } from './shared-connection.ts';

/**
 * One connection to a PostgreSQL server, with a FIFO of exchanges: requests are written back to back, replies belong to the head.
 * Whether one session holds it (linked) or many share it is the business of whoever submits; the relay is the same.
 */
export class ServerConnection {
  readonly host: ServerConnectionHost;
  readonly pid: number;
  readonly openedMs: number;
  /** Monotonic milliseconds when it last became idle. */
  idleSinceMs: number;
  /** Monotonic milliseconds after which it is not used again. */
  retireAtMs = Number.POSITIVE_INFINITY;
  /** What the server last said in ReadyForQuery. */
  status: number = STATUS.IDLE;
  /** Latest ParameterStatus values. */
  readonly parameters: Map<string, string>;
  /** Its transactions are READ COMMITTED where a session says nothing else; false: or nobody has asked. */
  readsCommitted = false;
  /** In which life of the server it was opened; null: it could not be told; undefined: it was not asked. */
  incarnation: Incarnation | null | undefined;
  /** Settings applied by us. */
  settings: SettingsSet = NO_SETTINGS;
  readonly statements = new ServerStatements();
  /** Set while a session holds it exclusively. */
  holder: LinkHolder | null = null;
  /** Set while single reads of many sessions stand on it. */
  sharing: SharedConnection | null = null;
  /** The session that held it last and is still there: it gets it again as long as nobody else needs it. */
  home: LinkHolder | null = null;
  /** The session whose uses of sequences `currval` and `lastval` tell. */
  sequencesOf: LinkHolder | null = null;
  /** Process id that the client was told whose session holds it, or held it last. */
  lastClientPid: number | null = null;
  /** True once the connection must not be used for anybody else. */
  tainted = false;
  readonly #socket: Socket;
  readonly login: LoggedIn;
  readonly exchanges = new ExchangeQueue();
  /** Why it is closed; null while it is not. */
  gone: FairleadError | null = null;
  readonly #output: ServerOutput;
  readonly #replies = new ServerReplies(this);
  #paused = false;
  readonly #cancels = new Cancels();

  constructor(host: ServerConnectionHost, login: LoggedIn) {
    this.host = host;
    this.#socket = login.socket;
    this.login = login;
    this.pid = login.pid;
    this.parameters = login.parameters;
    this.openedMs = nowMs();
    this.idleSinceMs = this.openedMs;
    this.#socket.on('data', (chunk) => {
      try {
        this.#replies.feed(chunk);
      } catch (error) {
        // a fault of ours with one connection must not end all others
        this.destroy(`internal error: ${messageOf(error)}`);
      }
    });
    this.#socket.on('error', (error) => this.destroy(error.message));
    // known in the same turn, before anything of that turn is written; `close` comes a turn later
    this.#socket.on('end', () => this.destroy('connection closed'));
    this.#socket.on('close', () => this.destroy('connection closed'));
    this.#output = new ServerOutput(this.#socket, () => this.exchanges.markSent());
  }

  get closed(): boolean {
    return this.gone !== null;
  }

  /** Exchanges in flight. */
  get depth(): number {
    return this.exchanges.length;
  }

  get cancelling(): boolean {
    return this.#cancels.pending;
  }

  /** When the request at the head was made, monotonic milliseconds; null while nothing is in flight. */
  get requestStartedMs(): number | null {
    return this.exchanges.head?.startedMs ?? null;
  }

  get local(): { readonly address: string; readonly port: number } {
    return { address: this.#socket.localAddress ?? '', port: this.#socket.localPort ?? 0 };
  }

  /** Appends an exchange; its bytes are written with those of the same event-loop turn. */
  submit(exchange: Exchange, bytes: readonly Buffer[]): void {
    if (this.gone !== null) return exchange.owner.lost(exchange, this.gone);
    this.exchanges.push(exchange);
    // at the end of the turn, also where nobody else has anything to say: what the turn tells of dead servers comes before, and what was
    // not sent to one is not of unknown outcome
    this.#output.write(bytes);
  }

  /** More bytes for the exchange at the tail: CopyData, the rest of a batch. */
  write(bytes: readonly Buffer[]): void {
    if (this.closed) return;
    this.#output.write(bytes);
  }

  /** True when the server reads slower than the client writes; `then` runs when it has caught up. */
  congested(then: () => void): boolean {
    return this.#output.congested(then);
  }

  /** Stops reading replies: the client does not keep up. */
  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  /** Stops reading replies of an exchange whose client does not keep up; others do not wait for that. */
  pauseFor(exchange: Exchange): void {
    if (this.exchanges.head !== exchange) return;
    this.sharing?.isolate();
    this.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Asks the server to cancel what runs now. The connection is not given to anybody else before the request is through. */
  cancel(): void {
    if (!this.closed) this.#cancels.send(this.login, this);
  }

  /** The same for an exchange that may share the connection, and is at the head: what stands behind it is not hit. */
  cancelFor(exchange: Exchange): void {
    if ((this.sharing !== null || exchange.guarded) && this.exchanges.head !== exchange) return;
    this.sharing?.isolate();
    this.cancel();
  }

  /** Nobody waits for the replies of an exchange any more: they are read all the same. */
  disown(exchange: Exchange): void {
    const atHead = this.exchanges.head === exchange;
    exchange.disown();
    if (atHead) this.resume();
  }

  /** In a state nobody else may have: what runs is cancelled, and the connection closed. */
  abandon(reason: string): void {
    this.tainted = true;
    if (this.depth === 0) return this.end();
    this.cancel();
    this.destroy(reason);
  }

  /** Runs `then` as soon as no cancel request is under way. */
  afterCancel(then: () => void): void {
    this.#cancels.after(then);
  }

  /** Ends an idle connection politely. */
  end(): void {
    if (this.closed) return;
    this.#socket.write(TERMINATE);
    this.destroy('closed by the pool');
  }

  /** Answers at once what needs no server and stands before all that does: a client that flushed waits for it. */
  settle(exchange: Exchange): void {
    this.#replies.settle(exchange);
  }

  /** Cuts the connection; exchanges in flight are lost with `reason`. */
  destroy(reason: string): void {
    if (this.closed) return;
    const error = this.#lostError(reason);
    this.gone = error;
    // what is in flight must not arrive later: its outcome is told now, and the server may be given up
    if (this.depth > 0) abortSocket(this.#socket);
    else this.#socket.destroy();
    this.#output.end();
    this.host.closed(this);
    const { holder } = this;
    this.holder = null;
    for (const exchange of this.exchanges.drain()) exchange.owner.lost(exchange, error);
    holder?.closed(error);
    this.#cancels.end();
  }

  #lostError(reason: string): FairleadError {
    const { lastWord } = this.#replies;
    const why = lastWord === null ? reason : `${lastWord.message} (SQLSTATE ${lastWord.sqlState})`;
    return new FairleadError('connection_lost', `node ${this.host.node}: ${why}`, undefined, lastWord ?? undefined);
  }
}
