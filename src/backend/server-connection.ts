import type { Socket } from 'node:net';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { Queue } from '../core/queue.ts';
import { Carry } from '../wire/carry.ts';
import { type ErrorFields, readErrorFields, readParameterStatus } from '../wire/fields.ts';
import { lengthAt } from '../wire/frame-reader.ts';
import { HEADER_BYTES, SERVER, STATUS } from '../wire/message-type.ts';
import { CLOSE_COMPLETE, SYNC, TERMINATE } from '../wire/writer.ts';
import { Cancels } from './cancel-request.ts';
import { clientsWords } from './clients-words.ts';
import { EXPECT, type Exchange } from './exchange.ts';
import type { LinkHolder } from './link-holder.ts';
import { OUTDATED } from './prepared-statement.ts';
import type { ServerConnectionHost } from './server-connection-host.ts';
import type { LoggedIn } from './server-login.ts';
import { ServerOutput } from './server-output.ts';
import { ServerStatements } from './server-statements.ts';
import { NO_SETTINGS, type SettingsSet } from './settings-set.ts';

/** Types of which only the header is looked at: rows and copied data pass whatever their size. All others are seen whole. */
const STREAMED = new Uint8Array(256);
for (const type of [SERVER.DATA_ROW, SERVER.COPY_DATA, SERVER.FUNCTION_RESULT]) STREAMED[type] = 1;

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
  /** Settings applied by us. */
  settings: SettingsSet = NO_SETTINGS;
  readonly statements = new ServerStatements();
  /** Set while a session holds it exclusively. */
  holder: LinkHolder | null = null;
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
  readonly #queue = new Queue<Exchange>();
  #closed = false;
  readonly #output: ServerOutput;
  readonly #carry = new Carry();
  #paused = false;
  /** Bytes of a streamed message still to come. */
  #bodyLeft = 0;
  #fatal: ErrorFields | null = null;
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
        this.#onData(chunk);
      } catch (error) {
        // a fault of ours with one connection must not end all others
        this.destroy(`internal error: ${messageOf(error)}`);
      }
    });
    this.#socket.on('error', (error) => this.destroy(error.message));
    this.#socket.on('close', () => this.destroy('connection closed'));
    this.#output = new ServerOutput(this.#socket, () => this.#markSent());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Exchanges in flight. */
  get depth(): number {
    return this.#queue.length;
  }

  get cancelling(): boolean {
    return this.#cancels.pending;
  }

  /** When the request at the head was made, monotonic milliseconds; null while nothing is in flight. */
  get requestStartedMs(): number | null {
    return this.#queue.peek()?.startedMs ?? null;
  }

  get local(): { readonly address: string; readonly port: number } {
    return { address: this.#socket.localAddress ?? '', port: this.#socket.localPort ?? 0 };
  }

  /** Appends an exchange; its bytes are written with those of the same event-loop turn. */
  submit(exchange: Exchange, bytes: readonly Buffer[]): void {
    if (this.#closed) {
      exchange.owner.lost(exchange, this.#lostError('connection lost'));
      return;
    }
    this.#queue.push(exchange);
    this.write(bytes);
  }

  /** More bytes for the exchange at the tail: CopyData, the rest of a batch. */
  write(bytes: readonly Buffer[]): void {
    if (this.#closed) return;
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

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Asks the server to cancel what runs now. The connection is not given to anybody else before the request is through. */
  cancel(): void {
    if (!this.#closed) this.#cancels.send(this.login, this);
  }

  /** Runs `then` as soon as no cancel request is under way. */
  afterCancel(then: () => void): void {
    this.#cancels.after(then);
  }

  /** Ends an idle connection politely. */
  end(): void {
    if (this.#closed) return;
    this.#socket.write(TERMINATE);
    this.destroy('closed by the pool');
  }

  #markSent(): void {
    for (let i = 0; i < this.#queue.length; i++) (this.#queue.at(i) as Exchange).sent = true;
  }

  #onData(chunk: Buffer): void {
    const buffer = this.#carry.join(chunk);
    if (buffer === null) return;
    const size = buffer.length;
    let pos = 0;
    let from = 0;
    if (this.#bodyLeft > 0) {
      pos = Math.min(this.#bodyLeft, size);
      this.#bodyLeft -= pos;
    }
    while (size - pos >= HEADER_BYTES && this.#bodyLeft === 0) {
      const type = buffer[pos] as number;
      const length = lengthAt(buffer, pos);
      if (length < HEADER_BYTES) return this.destroy('malformed message from the server');
      const end = pos + length;
      if (STREAMED[type] === 1) {
        const exchange = this.#queue.peek();
        if (exchange !== undefined && exchange.held !== null) {
          this.#forward(buffer, from, pos);
          this.#release(exchange);
          from = pos;
        }
        if (end > size) {
          this.#bodyLeft = end - size;
          pos = size;
          break;
        }
        pos = end;
        continue;
      }
      if (end > size) break;
      const keepFrom = this.#look(type, buffer, from, pos, end);
      if (this.#closed) return;
      this.#paySync();
      from = this.#synthesize(this.#queue.peek(), buffer, keepFrom, end);
      pos = end;
    }
    this.#forward(buffer, from, pos);
    if (pos < size) this.#carry.keep(buffer, pos);
  }

  /**
   * A message that is seen whole, at `pos`..`end`; bytes from `from` on are not forwarded yet.
   * @returns from where on bytes are to be forwarded next: `from` when the message just goes along, `end` when it is dealt with.
   */
  #look(type: number, buffer: Buffer, from: number, pos: number, end: number): number {
    const exchange = this.#queue.peek();
    if (type === SERVER.PARAMETER_STATUS) this.parameters.set(...readParameterStatus(buffer, pos, end));
    if (type === SERVER.NOTIFICATION) {
      this.#forward(buffer, from, pos);
      this.holder?.async(buffer, pos, end);
      return end;
    }
    if (type === SERVER.ERROR) {
      const fields = readErrorFields(buffer, pos, end);
      // outside of any exchange there is no other
      if (exchange === undefined || fields.severity === 'FATAL' || fields.severity === 'PANIC') {
        this.#end(exchange, fields, buffer, from, pos);
        return end;
      }
    } else if (exchange === undefined) {
      this.holder?.async(buffer, pos, end);
      return end;
    }
    if (
      exchange.extended &&
      exchange.head < exchange.codes.length &&
      type !== SERVER.NOTICE &&
      type !== SERVER.PARAMETER_STATUS
    ) {
      const next = this.#synthesize(exchange, buffer, from, pos);
      if (this.#answers(exchange, type, buffer, pos, end)) {
        this.#forward(buffer, next, pos);
        return end;
      }
      from = next;
    }
    switch (type) {
      case SERVER.READY:
        return this.#ready(exchange, buffer, from, pos, end);
      case SERVER.ERROR:
        return this.#errorSeen(exchange, buffer, from, pos, end);
      case SERVER.COMMAND_COMPLETE:
      case SERVER.EMPTY_QUERY:
      case SERVER.PORTAL_SUSPENDED:
        if (exchange.held === null) return from;
        this.#forward(buffer, from, pos);
        this.#release(exchange);
        return pos;
      case SERVER.COPY_IN:
      case SERVER.COPY_OUT:
      case SERVER.COPY_BOTH:
        this.#forward(buffer, from, pos);
        this.#release(exchange);
        this.#forward(buffer, pos, end);
        if (type === SERVER.COPY_OUT) return end;
        exchange.syncOwed = false;
        if (exchange.copiesSent > 0) exchange.copiesSent--;
        else exchange.owner.copyIn(exchange);
        return end;
      default:
        return from;
    }
  }

  /** Answers at once what needs no server and stands before all that does: a client that flushed waits for it. */
  settle(exchange: Exchange): void {
    if (this.#queue.peek() === exchange) this.#synthesize(exchange, CLOSE_COMPLETE, 0, 0);
  }

  /** Sends the Sync that was kept back, once the server cannot ask for copied data any more. */
  #paySync(): void {
    const exchange = this.#queue.peek();
    if (exchange === undefined || !exchange.syncOwed || !exchange.answered) return;
    exchange.syncOwed = false;
    this.write([SYNC]);
  }

  /** Puts in the replies that are ours and stand before the next one of the server. */
  #synthesize(exchange: Exchange | undefined, buffer: Buffer, from: number, pos: number): number {
    let next = from;
    while (exchange !== undefined && exchange.codes[exchange.head] === EXPECT.CLOSE_SYNTH) {
      this.#forward(buffer, next, pos);
      next = pos;
      this.#forward(CLOSE_COMPLETE, 0, CLOSE_COMPLETE.length);
      exchange.head++;
    }
    return next;
  }

  /** @returns true when the message is not for the client. */
  #answers(exchange: Exchange, type: number, buffer: Buffer, pos: number, end: number): boolean {
    if (!this.statements.heard(exchange, type, buffer, pos, end)) this.tainted = true;
    return exchange.tick(type);
  }

  /** The server's last word. What the client is told depends on what it was doing. */
  #end(exchange: Exchange | undefined, fields: ErrorFields, buffer: Buffer, from: number, pos: number): void {
    this.#fatal = fields;
    if (exchange?.unreadBy(fields.sqlState)) exchange.sent = false;
    else this.#forward(buffer, from, pos);
    this.destroy('ended by the server');
  }

  #errorSeen(exchange: Exchange, buffer: Buffer, from: number, pos: number, end: number): number {
    const fields = readErrorFields(buffer, pos, end);
    const { ownFault } = exchange;
    const name = exchange.names[exchange.head] ?? null;
    if (exchange.extended) {
      exchange.abandonExpected();
      // a Parse under the empty name that fails leaves none there
      this.statements.dropUnnamed();
      // what we believe of its statements is wrong, or a plan is outdated by DDL: nobody else shall meet that
      if (!ownFault && OUTDATED.has(fields.sqlState)) this.tainted = true;
    }
    if (exchange.sqlState === null) exchange.sqlState = fields.sqlState;
    if (exchange.held !== null && !ownFault && exchange.refusable?.(fields.sqlState)) {
      exchange.refusedBy = fields.sqlState;
      exchange.held = null;
      return end;
    }
    if (exchange.reopen()) exchange.owner.skipping?.();
    const named = clientsWords(buffer, pos, end, fields, name);
    if (named === null && exchange.held === null) return from;
    this.#forward(buffer, from, pos);
    this.#release(exchange);
    if (named === null) return pos;
    this.#forward(named, 0, named.length);
    return end;
  }

  #ready(exchange: Exchange, buffer: Buffer, from: number, pos: number, end: number): number {
    this.status = buffer[pos + 5] as number;
    if (exchange.refusedBy !== null) {
      this.#queue.shift();
      exchange.owner.refused(exchange, exchange.refusedBy, this.status);
      return end;
    }
    this.#forward(buffer, from, pos);
    this.#release(exchange);
    if (!exchange.swallowReady) this.#forward(buffer, pos, end);
    this.#queue.shift();
    if (exchange.dropsUnnamed) this.statements.dropUnnamed();
    const deallocation = exchange.closeQuery();
    if (deallocation !== null) this.statements.deallocated(deallocation);
    if (exchange.hasQuery) this.tainted = true;
    if (this.#queue.length === 0) this.idleSinceMs = nowMs();
    exchange.owner.finished(exchange, this.status);
    return end;
  }

  /** Ends the holding back: what was held goes out. */
  #release(exchange: Exchange): void {
    const held = exchange.held;
    if (held === null) return;
    exchange.held = null;
    for (const buffer of held) this.#forward(buffer, 0, buffer.length);
  }

  #forward(buffer: Buffer, start: number, end: number): void {
    if (start >= end) return;
    const exchange = this.#queue.peek();
    if (exchange === undefined || exchange.discard || exchange.refusedBy !== null) return;
    if (exchange.held !== null) {
      exchange.held.push(buffer.subarray(start, end));
      return;
    }
    exchange.forwarded = true;
    exchange.midMessage = this.#bodyLeft > 0;
    exchange.owner.reply(exchange, buffer, start, end);
  }

  /** Cuts the connection; exchanges in flight are lost with `reason`. */
  destroy(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#output.end();
    this.host.closed(this);
    const error = this.#lostError(reason);
    const { holder } = this;
    this.holder = null;
    for (let exchange = this.#queue.shift(); exchange !== undefined; exchange = this.#queue.shift()) {
      exchange.owner.lost(exchange, error);
    }
    holder?.closed(error);
    this.#cancels.end();
  }

  #lostError(reason: string): FairleadError {
    const why = this.#fatal === null ? reason : `${this.#fatal.message} (SQLSTATE ${this.#fatal.sqlState})`;
    return new FairleadError('connection_lost', `node ${this.host.node}: ${why}`, undefined, this.#fatal ?? undefined);
  }
}
