import type { AuditedRead } from '../cluster/read-audit.ts';
import type { Where } from './sessions.ts';

/** `pg_cancel_backend` or `pg_terminate_backend` for a session of another process. */
export type Signal = {
  readonly kind: 'cancel' | 'terminate';
  /** That the session was told at its login. */
  readonly pid: number;
  /** Who asks. */
  readonly by: Signaller;
};

/** `unknown`: there is no such session. */
export type SignalOutcome = 'done' | 'refused' | 'unknown';

export type Signaller = {
  readonly user: string;
  /** Taken with SET ROLE. */
  readonly role: string | null;
  readonly superuser: boolean;
};

/** Most clients of a database and of a user; 0: no limit. */
export type Limits = { readonly database: number; readonly user: number };

/** The other processes that serve clients of the same Fairlead. What is counted per client is counted over all of them. */
export type Neighbours = {
  /** How many processes there are, and which of them this one is. Process ids that clients are told leave the rest `index`. */
  readonly count: number;
  readonly index: number;
  /** A CancelRequest for a client of another process. Resolves when it was passed on. */
  cancel(pid: number, secret: Buffer): Promise<void>;
  signal(signal: Signal): Promise<SignalOutcome>;
  /** Counts client connections in all, those of this process included. */
  clients(then: (count: number) => void): void;
  /**
   * A client takes its place, unless there are too many. `then` is called at once where nobody has to be asked.
   * @param then which limit is reached; null: it is in, and `leave` has to be called when it is gone
   */
  enter(where: Where, limits: Limits, then: (reached: keyof Limits | null) => void): void;
  leave(where: Where): void;
  /** Sessions of this database and user tell sequence values outside of the transaction that drew them. See `SequenceUse`. */
  sequenceReader(kind: string): void;
  /** A read is to be checked by whoever hears the stream's commits. */
  audited(read: AuditedRead): void;
};

/** There is one process. It counts by itself. */
export const ALONE: Neighbours = {
  count: 1,
  index: 0,
  cancel: async () => {},
  signal: async () => 'unknown',
  clients() {},
  enter: (_where, _limits, then) => then(null),
  leave() {},
  sequenceReader() {},
  audited() {},
};
