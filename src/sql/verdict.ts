/** What a statement text is, as far as routing and pooling care. Frozen and shared: one object per distinct text shape. */
import type { SchemaChange } from './schema-change.ts';
import type { TablesRead } from './tables-read.ts';

export type StatementClass =
  | 'read' // may run on a replica
  | 'write' // must run on the primary
  | 'begin' // opens a transaction block
  | 'end' // COMMIT, ROLLBACK, END, PREPARE TRANSACTION: may close a transaction block
  | 'session-state' // changes what later statements of the session see: SET, RESET, DISCARD, …
  | 'copy' // COPY from or to the client
  | 'unknown'; // does not parse, or mixes things: primary

/** State that lives in one server connection and cannot be replayed: the session keeps the connection. */
export type PinReason =
  | 'temporary table'
  | 'session advisory lock'
  | 'sql prepare'
  | 'cursor with hold'
  | 'listen'
  | 'load'
  | 'session authorization'
  | 'sequence state' // currval / lastval
  | 'large object'
  | 'pg_backend_pid' // the client was told which server process serves it
  | 'server state'; // setseed, replication origin, dblink connections: cannot be asked for and set again

/** A name as written; schema null when it is found by search_path. Lower-cased unless quoted. */
export type QualifiedName = { readonly schema: string | null; readonly name: string };

export type FunctionCall = QualifiedName & {
  /** Number of arguments as written. */
  readonly args: number;
};

/**
 * What a statement does to the channels that its session listens on, or to the transaction that such changes wait for. `unlisten` without
 * a name: all of them.
 */
export type ListenStep =
  | { readonly kind: 'listen'; readonly name: string }
  | { readonly kind: 'unlisten'; readonly name: string | null }
  | { readonly kind: 'savepoint' | 'release' | 'rollback to'; readonly name: string }
  | { readonly kind: 'commit' | 'rollback' | 'prepare'; readonly name: null };

/** PREPARE, EXECUTE, EXPLAIN EXECUTE, DEALLOCATE, DISCARD ALL. `deallocate` without a name: all. */
export type StatementUse =
  | { readonly kind: 'prepare' | 'execute'; readonly name: string }
  | { readonly kind: 'deallocate'; readonly name: string | null };

/** `SELECT pg_terminate_backend(…)` or `pg_cancel_backend(…)` and nothing else. */
export type BackendSignal = {
  readonly kind: 'terminate' | 'cancel';
  /** Name of the result column, where the statement gives one. */
  readonly column: string | null;
  /** True: the pid is the first parameter; false: a literal in the text. */
  readonly parameter: boolean;
};

/** Statements addressed to Fairlead itself: never sent to a server. */
export type FairleadCommand =
  | { readonly kind: 'set'; readonly name: string; readonly value: string | null; readonly local: boolean }
  | { readonly kind: 'show'; readonly name: string };

/** Hints in a comment: `/* fairlead: primary *\/`, `replica`, `max_staleness=5s`. */
export type Hint = { readonly target: 'primary' | 'replica' | null; readonly maxStalenessMs: number | null };

export type Verdict = {
  readonly class: StatementClass;
  /** One phrase for people: why this class, for example `calls volatile function nextval`. */
  readonly reason: string;
  /** How many statements the text has; 0 for an empty query. */
  readonly statements: number;
  /** BEGIN, SET TRANSACTION, SET default_transaction_read_only: READ ONLY true, READ WRITE false, not said null. */
  readonly readOnly: boolean | null;
  /** begin only: isolation level as written in lower case (`serializable`), or null. */
  readonly isolation: string | null;
  /** Set where the statement leaves such state behind. */
  readonly pin: PinReason | null;
  /** All of them where there are several. */
  readonly pins?: readonly PinReason[];
  /** PREPARE of a statement that leaves something behind whenever it is executed. */
  readonly prepares?: { readonly pins: readonly PinReason[]; readonly changesSettings: boolean } | null;
  /** DISCARD ALL, UNLISTEN *, DEALLOCATE ALL …: `all` ends every pin. */
  readonly unpin: 'all' | null;
  /** True when settings (GUCs) of the session may differ afterwards: SET, RESET, set_config, DISCARD ALL. */
  readonly changesSettings: boolean;
  /** Names of the settings it mentions, lower case; custom ones (`myapp.user`) must be asked by name. */
  readonly settings: readonly string[];
  /** SET LOCAL and the like: a setting that may decide what a literal means differs until the transaction ends. */
  readonly changesLiterals?: boolean;
  /** True when no other settings can have changed than those it mentions, or resets. */
  readonly settingsByName?: boolean;
  /** Settings that go back to what the session began with, lower case: RESET, SET … TO DEFAULT; `all`: RESET ALL, DISCARD ALL. */
  readonly resets?: readonly string[] | 'all';
  readonly relations: readonly QualifiedName[];
  readonly functions: readonly FunctionCall[];
  /** What a read reads; absent where that is not known. */
  readonly tables?: TablesRead;
  /** Why it is not known what a read reads; absent where it is. */
  readonly opaque?: string;
  readonly command: FairleadCommand | null;
  readonly hint: Hint | null;
  /**
   * False when it certainly changes no data, whatever its class: reads that need the primary, SET, LOCK. The session's
   * token need not move. Absent means it may.
   */
  readonly mayWrite?: boolean;
  /** It needs the primary because of a function it calls, not because of what it is. */
  readonly callsVolatile?: boolean;
  /** Pins that end when it succeeds (and its transaction commits): UNLISTEN *, CLOSE ALL, DISCARD TEMP, … */
  readonly releases?: readonly PinReason[];
  /** It may take away the last of what pins the session: DROP, CLOSE, DEALLOCATE, pg_advisory_unlock, ROLLBACK TO. */
  readonly mayUnpin?: boolean;
  /** What it does with prepared statements, made by SQL or by Parse, in the order of the statements; absent: nothing. */
  readonly statementUses?: readonly StatementUse[];
  readonly signal?: BackendSignal | null;
  /** In the order of the statements; absent: none. */
  readonly listenSteps?: readonly ListenStep[];
  /**
   * FETCH, EXECUTE: it stands for a cursor or a statement of the session. Prepared, it is of no use to others, and PostgreSQL crashes when
   * a prepared FETCH whose cursor is gone is described.
   */
  readonly ofSession?: boolean;
  /** It runs what nobody has read: the session may hold afterwards whatever a server can be asked about. */
  readonly unseen?: boolean;
  /** What the catalog says of functions and relations may be outdated once it is committed. */
  readonly altersSchema?: SchemaChange;
  /** It may advance a sequence, so that a later `lastval()` of this session means this server connection. */
  readonly mayAdvanceSequence?: boolean;
  /** It needs these databases to itself: no other connection may be open to them. */
  readonly vacates?: readonly string[];
  /** It reads counters of what statements did on one server: the session's later statements should be counted there. */
  readonly readsCounters?: boolean;
};

export function pinsFor(verdict: Verdict, reason: PinReason): boolean {
  return verdict.pin === reason || verdict.pins?.includes(reason) === true;
}
