/** What the load process is told to do, and what it answers. */

export type Target = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
};

export type Job =
  /** Log in `clients`, `atOnce` at a time, each with a first query, and keep them until the process is ended. */
  | { readonly kind: 'hold'; readonly target: Target; readonly clients: number; readonly atOnce: number }
  /** Connect all at once; each logs in and has a query answered. */
  | { readonly kind: 'burst'; readonly target: Target; readonly clients: number }
  /** Run a statement and count what comes. */
  | { readonly kind: 'receive'; readonly target: Target; readonly statement: string }
  /** Run a COPY FROM STDIN and send it so many bytes. */
  | { readonly kind: 'send'; readonly target: Target; readonly statement: string; readonly bytes: number }
  /** Write and read in sessions, and look whether what is read is what must have been seen. */
  | {
      readonly kind: 'sessions';
      readonly target: Target;
      readonly writers: number;
      readonly readers: number;
      readonly seconds: number;
    };

export type BurstResult = {
  /** From the first connect to the last answer. */
  readonly totalMs: number;
  /** From the first connect on, for a client. */
  readonly medianMs: number;
  readonly p99Ms: number;
  /** Of the load process itself: what it takes longer than is not the proxy's. */
  readonly ownMs: number;
};

export type RelayResult = { readonly bytes: number; readonly ms: number };

/** What is read, and by whom: the row that the session has just written; one that others write; a table that nobody writes, by sessions that do write and by others. */
export const READS = ['own', 'others', 'untouched-by-writer', 'untouched'] as const;
export type ReadKind = (typeof READS)[number];

/** Reads of one kind. */
export type ReadTally = {
  /** In the order in which they were answered. */
  readonly latenciesMs: readonly number[];
  /** That returned less than the session has written or read before. */
  readonly stale: number;
  /** How many were answered by the server with this port. */
  readonly byPort: Readonly<Record<string, number>>;
};

export type SessionsResult = Readonly<Record<ReadKind, ReadTally>>;

/** What each job ends with. */
export type Result = {
  readonly hold: { readonly clients: number };
  readonly burst: BurstResult;
  readonly receive: RelayResult;
  readonly send: RelayResult;
  readonly sessions: SessionsResult;
};

export type Answer = { readonly result: Result[Job['kind']] } | { readonly failure: string };
