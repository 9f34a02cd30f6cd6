import { Carry } from '../wire/carry.ts';
import { type ErrorFields, readErrorFields, readParameterStatus } from '../wire/fields.ts';
import { lengthAt } from '../wire/frame-reader.ts';
import { HEADER_BYTES, SERVER } from '../wire/message-type.ts';
import { CLOSE_COMPLETE, SYNC } from '../wire/writer.ts';
import { clientsWords } from './clients-words.ts';
import { EXPECT, type Exchange } from './exchange.ts';
import { OUTDATED } from './prepared-statement.ts';
import type { ServerConnection } from './server-connection.ts';

/** Types of which only the header is looked at: rows and copied data pass whatever their size. All others are seen whole. */
const STREAMED = new Uint8Array(256);
for (const type of [SERVER.DATA_ROW, SERVER.COPY_DATA, SERVER.FUNCTION_RESULT]) STREAMED[type] = 1;

/** Rows up to here are passed on whole: a client in the middle of one could not be told that the rest does not come. */
const WHOLE_BYTES = 256 * 1024;

/** Of what is not matched with anything expected these just go along; what ends the rows only if nothing is held back. */
const ROWS_END = SERVER.COMMAND_COMPLETE;
const PASSED = new Uint8Array(256);
for (const type of [SERVER.ROW_DESCRIPTION, SERVER.NO_DATA, SERVER.PARSE_COMPLETE, SERVER.BIND_COMPLETE, ROWS_END]) {
  PASSED[type] = 1;
}

/** What one server says: cut into messages, given in whole ranges to the owner of the exchange at the head, looked at where it matters. */
export class ServerReplies {
  readonly #connection: ServerConnection;
  readonly #carry = new Carry();
  /** Bytes of a streamed message still to come. */
  #bodyLeft = 0;
  /** The error that the server ended the connection with. */
  lastWord: ErrorFields | null = null;

  constructor(connection: ServerConnection) {
    this.#connection = connection;
  }

  /** A chunk from the server. */
  feed(chunk: Buffer): void {
    let rest = chunk;
    // what began in the chunk before is completed by itself: the rest of this one is not copied for that
    while (this.#carry.pending && rest.length > 0) {
      const { missing } = this.#carry;
      const buffer = this.#carry.join(rest.subarray(0, missing));
      rest = rest.subarray(missing);
      if (buffer !== null) this.#read(buffer);
      if (this.#connection.closed) return;
    }
    if (rest.length > 0) this.#read(rest);
  }

  #read(buffer: Buffer): void {
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
      if (length < HEADER_BYTES) return this.#connection.destroy('malformed message from the server');
      const end = pos + length;
      if (STREAMED[type] === 1) {
        if (end > size && length <= WHOLE_BYTES) break;
        const exchange = this.#connection.exchanges.head;
        if (exchange !== undefined && exchange.held !== null) {
          if (exchange.held.length > 0) {
            this.#forward(buffer, from, pos);
            from = pos;
          }
          this.#release(exchange);
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
      const head = this.#connection.exchanges.head;
      if (head !== undefined && !head.extended && PASSED[type] === 1 && (type !== ROWS_END || head.held === null)) {
        head.plain?.heard(type, this.#connection.statements, buffer, pos, end);
        pos = end;
        continue;
      }
      const keepFrom = this.#look(type, buffer, from, pos, end);
      if (this.#connection.closed) return;
      this.#paySync();
      from = this.#synthesize(this.#connection.exchanges.head, buffer, keepFrom, end);
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
    const exchange = this.#connection.exchanges.head;
    if (type === SERVER.PARAMETER_STATUS) this.#connection.parameters.set(...readParameterStatus(buffer, pos, end));
    if (type === SERVER.NOTIFICATION) {
      this.#forward(buffer, from, pos);
      this.#connection.holder?.async(buffer, pos, end);
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
      this.#connection.holder?.async(buffer, pos, end);
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
        if (exchange.held.length === 0) {
          exchange.held = null;
          return from;
        }
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
    if (this.#connection.exchanges.head === exchange) this.#synthesize(exchange, CLOSE_COMPLETE, 0, 0);
  }

  /** Sends the Sync that was kept back, once the server cannot ask for copied data any more. */
  #paySync(): void {
    const exchange = this.#connection.exchanges.head;
    if (exchange === undefined || !exchange.syncOwed || !exchange.answered) return;
    exchange.syncOwed = false;
    this.#connection.write([SYNC]);
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
    if (!this.#connection.statements.heard(exchange, type, buffer, pos, end)) this.#connection.tainted = true;
    return exchange.tick(type);
  }

  /** The server's last word. What the client is told depends on what it was doing. */
  #end(exchange: Exchange | undefined, fields: ErrorFields, buffer: Buffer, from: number, pos: number): void {
    this.lastWord = fields;
    if (exchange?.unreadBy(fields.sqlState)) exchange.sent = false;
    else this.#forward(buffer, from, pos);
    this.#connection.destroy('ended by the server');
  }

  #errorSeen(exchange: Exchange, buffer: Buffer, from: number, pos: number, end: number): number {
    const fields = readErrorFields(buffer, pos, end);
    const { ownFault } = exchange;
    const name = exchange.plain?.clientName(fields.message) ?? exchange.names[exchange.head] ?? null;
    if (exchange.extended) {
      // a Parse under the empty name that fails leaves none there
      if (exchange.parsesUnnamed) this.#connection.statements.dropUnnamed();
      exchange.abandonExpected();
      // what we believe of its statements is wrong, or a plan is outdated by DDL: nobody else shall meet that
      if (!ownFault && OUTDATED.has(fields.sqlState)) this.#connection.tainted = true;
    }
    if (exchange.plain !== null) {
      exchange.undone = exchange.plain.undone;
      if (OUTDATED.has(fields.sqlState)) this.#connection.tainted = true;
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
    this.#connection.status = buffer[pos + 5] as number;
    if (exchange.refusedBy !== null) {
      this.#connection.idleSinceMs = this.#connection.exchanges.shift(exchange);
      exchange.owner.refused(exchange, exchange.refusedBy, this.#connection.status);
      this.#connection.sharing?.answered(exchange);
      return end;
    }
    if (exchange.held === null && !exchange.swallowReady) this.#forward(buffer, from, end);
    else {
      this.#forward(buffer, from, pos);
      this.#release(exchange);
      if (!exchange.swallowReady) this.#forward(buffer, pos, end);
    }
    this.#connection.idleSinceMs = this.#connection.exchanges.shift(exchange);
    if (exchange.dropsUnnamed) this.#connection.statements.dropUnnamed();
    const deallocation = exchange.closeQuery();
    if (deallocation !== null) this.#connection.statements.deallocated(deallocation);
    if (exchange.hasQuery) this.#connection.tainted = true;
    exchange.owner.finished(exchange, this.#connection.status);
    this.#connection.sharing?.answered(exchange);
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
    const exchange = this.#connection.exchanges.head;
    if (exchange === undefined || exchange.discard || exchange.refusedBy !== null) return;
    if (exchange.held !== null) {
      exchange.held.push(buffer.subarray(start, end));
      return;
    }
    exchange.forwarded = true;
    exchange.midMessage = this.#bodyLeft > 0;
    exchange.owner.reply(exchange, buffer, start, end);
  }
}
