import type { Lsn } from '../core/lsn.ts';
import type { Mark } from './mark.ts';

/** Why a probe had no answer. Only the first five may mean that the server is dead. */
export type ProbeFailure =
  | 'refused' // the host is there, and nothing listens
  | 'unreachable' // no connection in time, or no way to the host
  | 'hung' // connected, and no answer in time
  | 'lost' // the connection broke
  | 'starting' // 57P03: starting up, shutting down or in crash recovery
  | 'too_many' // 53300: alive, but no slot left
  | 'auth' // 28xxx: alive, but our login is refused
  | 'sql'; // any other error answer: alive

/** A replica's WAL receiver, from `pg_stat_wal_receiver`. */
export type Receiver = {
  readonly status: string;
  readonly senderHost: string;
  readonly senderPort: number;
  readonly slotName: string | null;
  /** Timeline of the WAL received; null before anything came. */
  readonly timeline: number | null;
  /** Milliseconds since the last message of the sender, by the replica's own clock. */
  readonly silentMs: number;
};

/** What a logical subscriber was found to have of the primary's tables. */
export type Subscription = {
  /** Why no read may run there; null: those of `tables` may. */
  readonly obstacle: string | null;
  /** Subscription and apply worker that were found to follow the primary: what another worker tells is no position of its WAL. */
  readonly worker: string | null;
  /** Nothing that it shows is later than this; what it has is complete up to `replayLsn` only. */
  readonly reachLsn: Lsn;
  /** OIDs on the primary of the tables that it has as the primary has them. */
  readonly tables: ReadonlySet<number>;
  /** Version of the primary's schema that `tables` was compared with, and where the primary was then. */
  readonly schemaVersion: number;
  readonly comparedLsn: Lsn;
  /** Tables of the subscription that are not among `tables`, and why. */
  readonly leftOut: readonly string[];
};

/** What one successful probe saw. Frozen. */
export type Observation = {
  readonly node: string;
  /** Counts the probes of this node, failed ones included. */
  readonly sequence: number;
  /** Monotonic milliseconds of our clock when the probe was sent and when its answer was read. */
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly role: 'primary' | 'replica' | 'subscriber';
  readonly systemId: string;
  readonly timeline: number;
  /** When the server was started, seconds since 1970 by its clock: no two servers have been in the same microsecond. Left out of a subscriber. */
  readonly startedAt?: number;
  /** `server_version_num`, for example 180004. */
  readonly version: number;
  /** Primary: end of the last record (insert position without page header). Replica: what it has replayed. Subscriber: what it has applied. */
  readonly replayLsn: Lsn;
  /** Primary: flush position. Replica: the greater of received and replayed. */
  readonly receiveLsn: Lsn;
  readonly replayPaused: boolean;
  readonly receiver: Receiver | null;
  /** Server's wall clock minus ours, in milliseconds, exact to half a round trip. */
  readonly clockOffsetMs: number;
  readonly walLevel: string;
  /** `default_transaction_read_only`; a fenced primary says on. */
  readonly readOnly: boolean;
  /** Epoch of the fence in its `synchronous_standby_names`; null or absent: there is none. */
  readonly fence?: number | null;
  /** What an unfinished change of primary left in its `primary_conninfo`; absent also where our role may not read it. */
  readonly mark?: Mark | null;
  /** Of a subscriber only. Its `timeline` is that of the primary that it is known to follow, or 0. */
  readonly subscription?: Subscription;
};

/** A probe that failed. */
export type Failure = {
  readonly node: string;
  readonly sequence: number;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly kind: ProbeFailure;
  readonly message: string;
};

/** True when the failure may mean that the server is dead or cut off, not merely unwilling. */
export function maybeDead(kind: ProbeFailure): boolean {
  return MAYBE_DEAD.has(kind);
}

const MAYBE_DEAD: ReadonlySet<ProbeFailure> = new Set(['refused', 'unreachable', 'hung', 'lost', 'starting']);
