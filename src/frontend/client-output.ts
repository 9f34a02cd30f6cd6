import type { Socket } from 'node:net';
import type { Fork } from '../cluster/assignment.ts';
import type { FairleadError } from '../core/errors.ts';
import { STATUS } from '../wire/message-type.ts';
import { errorResponse, noticeResponse, readyForQuery } from '../wire/writer.ts';

/** A session's transaction as its client sees it; `lost`: the server connection is gone, the client has not ended it yet. */
export type Transaction = 'none' | 'open' | 'failed' | 'lost';

const STATUS_OF = { none: STATUS.IDLE, open: STATUS.TRANSACTION, failed: STATUS.FAILED, lost: STATUS.FAILED } as const;

/** Writes smaller than this are joined with what follows in the same turn. */
const JOIN_BYTES = 16 * 1024;

/** Those with something to write at the end of the turn: replies to many clients come in one, and one callback serves them all. */
let WAITING: ClientOutput[] = [];

function flushAll(): void {
  const waiting = WAITING;
  WAITING = [];
  for (const output of waiting) output.turned();
}

/** What goes to one client: small pieces of one event-loop turn are written together. */
export class ClientOutput {
  readonly #socket: Socket;
  /** Of this turn: one piece, which mostly is all, or several. */
  #first: Buffer | null = null;
  #pending: Buffer[] | null = null;
  #pendingBytes = 0;
  #scheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** @returns false when the client does not keep up; the socket's `drain` event says when it has. */
  write(buffer: Buffer): boolean {
    if (buffer.length >= JOIN_BYTES) {
      this.flush();
      return this.#socket.write(buffer);
    }
    if (this.#first === null) this.#first = buffer;
    else if (this.#pending === null) this.#pending = [this.#first, buffer];
    else this.#pending.push(buffer);
    this.#pendingBytes += buffer.length;
    if (this.#pendingBytes >= JOIN_BYTES) return this.flush();
    if (!this.#scheduled) {
      this.#scheduled = true;
      if (WAITING.push(this) === 1) process.nextTick(flushAll);
    }
    return !this.#socket.writableNeedDrain;
  }

  ready(transaction: Transaction): void {
    this.write(readyForQuery(STATUS_OF[transaction]));
  }

  error(error: FairleadError): void {
    const sqlState = (error as { serverState?: string }).serverState ?? error.sqlState;
    // drivers tell by the routine that preparing again helps
    const routine = error.code === 'outdated_types' ? 'RevalidateCachedQuery' : null;
    this.write(errorResponse('ERROR', sqlState, error.message, error.remedy || null, null, routine));
  }

  /** The last thing a client hears. */
  fatal(error: FairleadError): void {
    const sqlState = (error as { serverState?: string }).serverState ?? error.sqlState;
    this.write(errorResponse('FATAL', sqlState, error.message, error.remedy));
    this.flush();
  }

  /** A failover left behind some of what the session wrote or saw. */
  warnOfLoss(fork: Fork): void {
    const text = `the failover of epoch ${fork.epoch} may have lost what this session had written or seen`;
    this.write(noticeResponse('WARNING', '01000', text, 'GET /api/events lists the commits that were lost'));
  }

  /** The turn is over. */
  turned(): void {
    this.#scheduled = false;
    this.flush();
  }

  flush(): boolean {
    if (this.#first === null) return !this.#socket.writableNeedDrain;
    // what waits for a client that does not read must not keep the whole chunk that it came in
    const all =
      this.#pending === null && !this.#socket.writableNeedDrain
        ? this.#first
        : Buffer.concat(this.#pending ?? [this.#first], this.#pendingBytes);
    this.#first = null;
    this.#pending = null;
    this.#pendingBytes = 0;
    return this.#socket.writable ? this.#socket.write(all) : false;
  }
}
