import type { FairleadError } from '../core/errors.ts';
import { SERVER } from '../wire/message-type.ts';
import { NOBODY } from './nobody.ts';
import type { Pace } from './pace.ts';
import type { PlainBatch } from './plain-batch.ts';
import type { PreparedStatement } from './prepared-statement.ts';
import type { ServerConnection } from './server-connection.ts';
import type { Shape } from './statement-shape.ts';

/** What the next reply of an extended batch answers, and what becomes of it. */
export const EXPECT = {
  PARSE: 1, // forwarded
  PARSE_SKIP: 2, // a Parse that we put in: not for the client
  PARSE_REFUSED: 3, // of a name in use: forwarded, the server refuses it
  BIND: 4,
  DESCRIBE_STATEMENT: 5,
  DESCRIBE_PORTAL: 6,
  EXECUTE: 7,
  CLOSE: 8, // forwarded (portals)
  CLOSE_SKIP: 9, // a Close that we put in
  CLOSE_SYNTH: 10, // statements are shared: CloseComplete is ours
  QUERY: 11, // a simple query, or a function call, that stands where a Sync might
} as const;

/** What a message does to the statements of the server connection when it succeeds, and to the client's when it does not. */
export type StatementEntry = {
  readonly statement: PreparedStatement;
  readonly unnamed: boolean;
  /** The client's name for it, or null for a message that we put in. */
  readonly clientName: string | null;
  /** What the client's name stood for before. */
  readonly before: PreparedStatement | null;
  /** Of a Describe: where to note what the client is told; null: nowhere, it is ours. */
  readonly told?: Shape | null;
};

/** Stands with a Bind or Describe of a statement that is not known: the server may refuse it, or know it from SQL. */
export const UNKNOWN_NAME: StatementEntry = Object.freeze({
  statement: Object.freeze({
    id: 0,
    serverName: '',
    wireName: Buffer.alloc(1),
    body: Buffer.alloc(0),
    parse: Buffer.alloc(0),
    own: true,
  }),
  unnamed: false,
  clientName: null,
  before: null,
});

/** A name of the client that a batch was to change, and what it stands for after all; null: nothing. */
export type Undone = { readonly name: string; readonly statement: PreparedStatement | null };

/** What ends a connection only while the server waits for a statement: idle_session_timeout, idle_in_transaction_session_timeout. */
const IDLE_ONLY: ReadonlySet<string> = new Set(['57P05', '25P03']);

/** DEALLOCATE, DISCARD ALL: names of the client that are free once the server has done it. */
export type Deallocation = { readonly gone: readonly Undone[]; readonly all: boolean };

/** Where replies go. All calls are synchronous and come from the server socket's data event. */
export interface ExchangeOwner {
  /** Bytes for the client, in order; a range may hold many messages or end inside one. */
  reply(exchange: Exchange, buffer: Buffer, start: number, end: number): void;
  /** The server awaits CopyData. */
  copyIn(exchange: Exchange): void;
  /** After an error in the batch the server skips the query that ends it, and all that comes up to a Sync. */
  skipping?(): void;
  /** ReadyForQuery came; the exchange is off the connection. `status` is one of STATUS. */
  finished(exchange: Exchange, status: number): void;
  /** The replica refused with `sqlState` before anything reached the client; the exchange is off the connection. */
  refused(exchange: Exchange, sqlState: string, status: number): void;
  /** It shared the connection and stood behind one that takes long: it is to run elsewhere. */
  displaced?(exchange: Exchange): void;
  /** The connection is gone before ReadyForQuery. */
  lost(exchange: Exchange, error: FairleadError): void;
}

const NO_CODES: number[] = [];
const NO_ENTRIES: null[] = [];

/** One request unit up to its ReadyForQuery, with the owner its replies go to. */
export class Exchange {
  owner: ExchangeOwner;
  readonly extended: boolean;
  /** Expected replies, from `head` on. */
  readonly codes: number[];
  readonly entries: (StatementEntry | null)[];
  /** What the client calls the statements that they are about. */
  readonly names: (string | null)[];
  head = 0;
  /** Set for a batch of which nothing has to be matched with what is expected. */
  plain: PlainBatch | null = null;
  /** True while more of the batch is to come (Flush without Sync). */
  open = false;
  /** Replies reach nobody. */
  discard = false;
  /** A question of ours stands before it, which no cancel request may hit. */
  guarded = false;
  /** ReadyForQuery is not for the client. */
  swallowReady = false;
  /** Decides by SQLSTATE whether an error that came before any row is kept from the client for a rerun. */
  refusable: ((sqlState: string) => boolean) | null = null;
  /** Replies held back while `refusable` may still strike. */
  held: Buffer[] | null = null;
  /** Set when `refusable` said yes: the rest is dropped up to ReadyForQuery. */
  refusedBy: string | null = null;
  /** SQLSTATE of the first error that was forwarded. */
  sqlState: string | null = null;
  /** True when bytes went to the socket: the server may have begun. */
  sent = false;
  /** When they did, monotonic milliseconds. */
  sentMs = 0;
  /** On a shared connection: where the time is noted that it takes, and how many milliseconds it was expected to. */
  pace: Pace | null = null;
  expectedMs = 0;
  /** It changes which statements the server connection has under names: nobody may rely on them before it is answered. */
  changesStatements = false;
  /** That was known when it was submitted. */
  changesCounted = false;
  /** True when bytes went to the owner. */
  forwarded = false;
  /** True when the bytes forwarded so far end inside a message. */
  midMessage = false;
  /** What did not happen to the client's names because of an error; later ones come first. */
  undone: readonly Undone[] | null = null;
  /** Statements that this exchange prepares, so that one batch prepares each only once. */
  planned: Set<number> | null = null;
  unnamedPlanned: PreparedStatement | null = null;
  /** What it planned holds, but nothing that the server connection had before: DEALLOCATE ALL stands in the batch. */
  forgets = false;
  /** By the index of what is expected. */
  #deallocations: Map<number, Deallocation> | null = null;
  #ofQuery: Deallocation | null = null;
  /** It holds a simple query, which takes the server's unnamed statement with it. */
  dropsUnnamed: boolean;
  /** The Sync that ends a COPY's batch was kept back: the server ignores it if it reads data first, and must have it if it does not. */
  syncOwed = false;
  /** Ends of copied data that were sent before the server asked for any. */
  copiesSent = 0;
  readonly startedMs: number;
  #abandoned = false;

  constructor(owner: ExchangeOwner, extended: boolean, startedMs: number) {
    this.owner = owner;
    this.extended = extended;
    this.startedMs = startedMs;
    this.dropsUnnamed = !extended;
    // of a simple query nothing is expected but its end
    this.codes = extended ? [] : NO_CODES;
    this.entries = extended ? [] : NO_ENTRIES;
    this.names = extended ? [] : NO_ENTRIES;
  }

  /** Nobody waits for the replies any more. */
  disown(): void {
    this.owner = NOBODY;
    this.discard = true;
    this.held = null;
  }

  /** True when what is answered next is refused because of the client: a name in use, or one that it never gave. */
  get ownFault(): boolean {
    return this.codes[this.head] === EXPECT.PARSE_REFUSED || this.entries[this.head] === UNKNOWN_NAME;
  }

  /**
   * True when a query stands in the place of a Sync. What comes behind the Sync that follows all the same is given an internal error by
   * PostgreSQL 18 ("unexpected state STARTED"): that must not hit another session.
   */
  get hasQuery(): boolean {
    return this.codes.at(-1) === EXPECT.QUERY;
  }

  /** @returns true when the server skips the query at the end because of an error before it: more is to come, up to a Sync. */
  reopen(): boolean {
    const skips = this.#abandoned && this.hasQuery;
    if (skips) this.open = true;
    return skips;
  }

  /** After an error the server answers nothing up to Sync, so nothing is expected either. */
  expect(code: number, entry: StatementEntry | null = null, name: string | null = null): void {
    this.codes.push(code);
    this.entries.push(entry);
    this.names.push(name);
    if (this.#abandoned) this.#skip();
  }

  /** @param refusable see there; null: everything goes out at once */
  holdBack(refusable: ((sqlState: string) => boolean) | null): void {
    this.refusable = refusable;
    if (refusable !== null) this.held = [];
  }

  /** A simple query follows the batch, or is all there is. */
  expectQuery(deallocation: Deallocation | null): void {
    this.dropsUnnamed = true;
    this.#ofQuery = deallocation;
    if (this.extended) this.expect(EXPECT.QUERY);
  }

  /** The Execute of a DEALLOCATE. */
  expectDeallocation(deallocation: Deallocation): void {
    this.#deallocations ??= new Map();
    this.#deallocations.set(this.codes.length, deallocation);
    if (deallocation.all) {
      this.forgets = true;
      this.planned = null;
    }
    this.expect(EXPECT.EXECUTE);
  }

  /** True when the next reply is about a Parse under the empty name. */
  get parsesUnnamed(): boolean {
    const code = this.codes[this.head];
    const parses = code === EXPECT.PARSE || code === EXPECT.PARSE_SKIP;
    return parses && this.entries[this.head]?.unnamed !== false;
  }

  /** What the CommandComplete that is next deallocates; null: nothing. */
  get deallocation(): Deallocation | null {
    return this.#deallocations?.get(this.head) ?? null;
  }

  /** It is over. @returns what its query has deallocated; null: nothing, or it failed. */
  closeQuery(): Deallocation | null {
    if (this.#ofQuery === null || this.sqlState === null) return this.#ofQuery;
    for (const undone of this.#ofQuery.gone) this.#undo(undone);
    return null;
  }

  /** The connection is gone: what was not answered was not done. @returns what follows for the client's names */
  abandonAll(): readonly Undone[] {
    this.#skip();
    this.sqlState ??= '08006';
    this.closeQuery();
    return this.undone ?? [];
  }

  /** True after an error: the server answers nothing up to Sync. */
  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** True when all that is expected comes from us, or nothing is. */
  get answered(): boolean {
    for (let i = this.head; i < this.codes.length; i++) {
      if (this.codes[i] !== EXPECT.CLOSE_SYNTH) return false;
    }
    return true;
  }

  /**
   * True when the server's last word shows that it ran nothing: replies come in order and all of them before that word, and it has not answered
   * the first thing of a batch, which stands before any execution. A simple query has no such thing; but some words are said to idle ones only.
   */
  unreadBy(sqlState: string): boolean {
    if (IDLE_ONLY.has(sqlState)) return true;
    if (!this.extended) return false;
    let first = 0;
    while (this.codes[first] === EXPECT.CLOSE_SYNTH) first++;
    const code = this.codes[first];
    return this.head <= first && code !== undefined && code !== EXPECT.EXECUTE && code !== EXPECT.QUERY;
  }

  /** Ticks off the expectation that a reply of this type fulfils. @returns true when the reply is not for the client. */
  tick(type: number): boolean {
    const code = this.codes[this.head];
    switch (type) {
      case SERVER.PARSE_COMPLETE:
        this.head++;
        return code === EXPECT.PARSE_SKIP;
      case SERVER.CLOSE_COMPLETE:
        this.head++;
        return code === EXPECT.CLOSE_SKIP;
      case SERVER.BIND_COMPLETE:
        this.head++;
        return false;
      case SERVER.ROW_DESCRIPTION:
      case SERVER.NO_DATA:
        if (code === EXPECT.DESCRIBE_STATEMENT || code === EXPECT.DESCRIBE_PORTAL) this.head++;
        return false;
      case SERVER.COMMAND_COMPLETE:
      case SERVER.EMPTY_QUERY:
      case SERVER.PORTAL_SUSPENDED:
        if (code === EXPECT.EXECUTE) this.head++;
        return false;
      default:
        return false;
    }
  }

  /**
   * After an error the server skips to Sync: nothing else of the batch is answered. The error of a query, or of a commit, comes last and
   * makes it skip nothing.
   */
  abandonExpected(): void {
    const code = this.codes[this.head];
    if (code === undefined || code === EXPECT.QUERY) return;
    this.#abandoned = true;
    // a Parse under the empty name that fails leaves none there
    const failed = this.entries[this.head];
    if (failed?.clientName === '') this.#undo({ name: '', statement: null });
    else if (failed?.clientName) this.#undo({ name: failed.clientName, statement: failed.before });
    this.#undoDeallocation();
    this.head++;
    this.#skip();
  }

  #skip(): void {
    for (; this.head < this.codes.length; this.head++) {
      const entry = this.entries[this.head] ?? null;
      if (entry !== null && entry.clientName !== null) {
        this.#undo({ name: entry.clientName, statement: entry.before });
      }
      this.#undoDeallocation();
    }
  }

  #undoDeallocation(): void {
    for (const undone of this.deallocation?.gone ?? []) this.#undo(undone);
  }

  #undo(undone: Undone): void {
    this.undone = [undone, ...(this.undone ?? [])];
  }
}

/** Somebody who wants a server connection. Exactly one of the two is called, once, unless it withdraws first. */
export interface Checkout {
  /** The session it is for: of several connections that would do it is given the one it had last. */
  readonly holder: object | null;
  granted(connection: ServerConnection): void;
  refused(error: FairleadError): void;
}
