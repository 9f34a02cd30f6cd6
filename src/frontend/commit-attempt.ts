import { Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import type { Incarnation } from '../cluster/incarnations.ts';
import { nowMs } from '../core/clock.ts';
import type { FairleadError } from '../core/errors.ts';
import { readErrorFields } from '../wire/fields.ts';
import { lengthAt } from '../wire/frame-reader.ts';
import { CLIENT, HEADER_BYTES, SERVER } from '../wire/message-type.ts';
import { message } from '../wire/writer.ts';

/** `pg_current_xact_id_if_assigned()` as a function call: without a parser, and the answer is 8 bytes. Functions of PostgreSQL itself have fixed OIDs. */
const QUESTION = message(CLIENT.FUNCTION_CALL, Buffer.from([0, 0, 0x13, 0xc4, 0, 0, 0, 0, 0, 1]));

/**
 * A COMMIT, and right before it, in the same round trip, the question which transaction it is. What the server answers to it is told when all of it is
 * there: whoever had half an answer could not be given a whole one later.
 */
export class CommitAttempt implements ExchangeOwner {
  readonly life: Incarnation;
  /** Null: the server has not said, or it has none. */
  xid: bigint | null = null;
  readonly #commit: Exchange;
  readonly #question: Exchange;
  readonly #owner: ExchangeOwner;
  readonly #answer: Buffer[] = [];
  readonly #replies: Buffer[] = [];
  #asking = true;
  /** Why the question failed, and the transaction with it. */
  #error: Buffer | null = null;

  constructor(connection: ServerConnection, life: Incarnation, commit: Exchange) {
    this.life = life;
    this.#commit = commit;
    this.#owner = commit.owner;
    commit.owner = this;
    commit.guarded = true;
    this.#question = new Exchange(this, false, nowMs());
    connection.submit(this.#question, [QUESTION]);
  }

  /** What came of an answer that has no end: notices. */
  get notices(): readonly Buffer[] {
    const out: Buffer[] = [];
    eachMessage(Buffer.concat(this.#replies), (type, bytes) => {
      if (type === SERVER.NOTICE) out.push(bytes);
    });
    return out;
  }

  reply(exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    (exchange === this.#question ? this.#answer : this.#replies).push(buffer.subarray(start, end));
  }

  copyIn(): void {}

  refused(exchange: Exchange, sqlState: string, status: number): void {
    if (exchange === this.#commit) this.#owner.refused(exchange, sqlState, status);
  }

  finished(exchange: Exchange, status: number): void {
    if (exchange === this.#question) return this.#answered();
    let bytes = Buffer.concat(this.#replies);
    const error = this.#error;
    if (error !== null) {
      const out: Buffer[] = [];
      eachMessage(bytes, (type, one) => out.push(type === SERVER.COMMAND_COMPLETE ? error : one));
      bytes = Buffer.concat(out);
      exchange.sqlState ??= readErrorFields(error, 0, error.length).sqlState;
    }
    exchange.owner = this.#owner;
    if (bytes.length > 0) this.#owner.reply(exchange, bytes, 0, bytes.length);
    this.#owner.finished(exchange, status);
  }

  lost(exchange: Exchange, error: FairleadError): void {
    if (exchange === this.#commit) return this.#owner.lost(exchange, error);
    // replies come in order: a server that says its last word before it has answered the question has not read the COMMIT behind it
    if (this.#asking && error.cause !== undefined) this.#commit.sent = false;
    this.#asking = false;
  }

  #answered(): void {
    this.#asking = false;
    eachMessage(Buffer.concat(this.#answer), (type, bytes) => {
      if (type === SERVER.ERROR) this.#error = bytes;
      // length of the message, length of the value (-1: null), value
      else if (type === SERVER.FUNCTION_RESULT && bytes.length === 17) this.xid = bytes.readBigUInt64BE(9);
    });
  }
}

function eachMessage(all: Buffer, see: (type: number, bytes: Buffer) => void): void {
  for (let pos = 0; pos + HEADER_BYTES <= all.length; pos += lengthAt(all, pos)) {
    const end = pos + lengthAt(all, pos);
    if (end <= all.length) see(all[pos] as number, all.subarray(pos, end));
  }
}
