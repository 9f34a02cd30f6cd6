/**
 * The data plane, as the rest of the program sees it: everything that serves clients, in this process or in several. What it tells is plain
 * data, so that it adds up over processes; what it is asked to do is plain data too.
 */
import type { Counts } from '../backend/database-counters.ts';
import type { PoolKey } from '../backend/pool.ts';
import type { PoolStatistics } from '../backend/pools.ts';
import type { AcknowledgedTables } from '../cluster/acknowledged-writes.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import type { Place } from '../frontend/client-counts.ts';
import type { SessionStatistics } from '../frontend/sessions.ts';
import type { ShutdownMode } from '../frontend/shutdown.ts';
import type { TrafficCounts } from '../frontend/traffic-snapshot.ts';

/** What is cheap to tell. */
export type Overview = {
  readonly sessions: SessionStatistics;
  /** Client connections: those that are still logging in, replication connections and operators included. */
  readonly clients: number;
  /** Operators at the admin console. */
  readonly operators: number;
  /** Logged in clients per database and user, replication connections included. */
  readonly places: readonly Place[];
  readonly pools: readonly PoolStatistics[];
  readonly traffic: TrafficCounts;
  readonly counts: readonly (readonly [database: string, Readonly<Counts>])[];
};

/** Both ends of a connection. */
export type Ends = {
  readonly addr: string;
  readonly port: number;
  readonly local_addr: string;
  readonly local_port: number;
  /** `TLSv1.3/TLS_AES_256_GCM_SHA384`; empty without encryption. */
  readonly tls: string;
};

/** A client. Instants are monotonic milliseconds. */
export type ClientReport = {
  readonly operator: boolean;
  /** The process id it was told. */
  readonly pid: number;
  readonly user: string;
  readonly database: string;
  readonly state: 'idle' | 'waiting' | 'active' | 'closed';
  readonly inTransaction: boolean;
  readonly ends: Ends;
  readonly startedMs: number;
  readonly lastRequestMs: number;
  readonly linkedTo: { readonly node: string; readonly pid: number } | null;
  readonly applicationName: string;
  readonly preparedStatements: number;
  readonly pinned: string | null;
  readonly waitingFor: string | null;
  readonly lastRoute: { readonly node: string | null; readonly reason: string } | null;
  /** Bytes that wait to be sent to it. */
  readonly unsentBytes: number;
};

/** A server connection. Instants are monotonic milliseconds. */
export type ServerReport = PoolKey & {
  readonly pid: number;
  /** In PgBouncer's words. */
  readonly state: string;
  readonly ends: Ends;
  readonly openedMs: number;
  readonly requestMs: number;
  /** It is replaced as soon as it is given back. */
  readonly closing: boolean;
  /** Process id that the client was told who holds it; null when nobody does. */
  readonly clientPid: number | null;
  readonly applicationName: string;
  readonly preparedStatements: number;
  /** Exchanges under way. */
  readonly outstanding: number;
};

/** A pool, in counts of connections where nothing else is said. */
export type PoolReport = PoolKey & {
  readonly clientsServed: number;
  readonly clientsWaiting: number;
  readonly total: number;
  readonly active: number;
  readonly cancelling: number;
  readonly idle: number;
  /** Idle for so long that they are asked whether they live before they are used. */
  readonly stale: number;
  readonly checking: number;
  readonly opening: number;
  readonly shared: number;
  readonly sharedReads: number;
  readonly displacedReads: number;
  readonly longestWaitMs: number;
  /** Connections are to be replaced, and some are still there. */
  readonly closing: boolean;
};

/** One process of the data plane. */
export type ProcessReport = {
  /** From 1. */
  readonly worker: number;
  readonly pid: number;
  readonly clients: number;
  /** Microseconds of processor time since its start. */
  readonly cpu: NodeJS.CpuUsage;
  readonly memory: NodeJS.MemoryUsage;
  /** Monotonic milliseconds. */
  readonly startedMs: number;
};

/** What operators want done; `database` null: in all of them, as clients name them. */
export type Order =
  | { readonly kind: 'end clients'; readonly database: string | null; readonly reason: string }
  | { readonly kind: 'end client'; readonly pid: number; readonly reason: string }
  /** Server connections are replaced as they are given back. */
  | { readonly kind: 'reconnect' | 'close idle'; readonly database: string | null }
  /** Server connections are closed whatever they do. */
  | { readonly kind: 'cut'; readonly database: string | null; readonly reason: string };

/** Where clients connect. */
export type Bound = { readonly listen: Address; readonly listenReadOnly: Address | null };

export type Plane = {
  /** As it is, or in other processes was at the last `refresh`. */
  readonly overview: Overview;
  refresh(): Promise<void>;
  clients(): Promise<readonly ClientReport[]>;
  servers(): Promise<readonly ServerReport[]>;
  pools(): Promise<readonly PoolReport[]>;
  processes(): Promise<readonly ProcessReport[]>;
  /** Resolves when it is done. */
  order(order: Order): Promise<void>;

  /** Takes the ports. @throws FairleadError port_taken, bad_config */
  listen(): Promise<Bound>;
  start(): void;
  /** Looks at whatever a configuration refers to. @returns what puts it into force. @throws FairleadError bad_config */
  prepare(read: Config): (inForce: Config) => void;
  /** Nodes have joined: takes them into the model as well. */
  add(nodes: readonly NodeConfig[]): void;
  /** DDL was committed in the database that the logical stream is about. */
  schemaChanged(): void;
  /** Resolves when no session acts on an assignment that was replaced before this call. */
  settled(): Promise<void>;
  /** Until no transaction is open on any server connection that can write, or the time is over. New ones are held by then. */
  quiesce(timeoutMs: number): Promise<void>;
  /** Writes that were acknowledged after `atMs` (monotonic milliseconds), oldest first. */
  acknowledgedAfter(atMs: number): Promise<readonly AcknowledgedTables[]>;
  /** Begins the end; a later call may hasten an earlier one. Resolves, as `done` does, when no client and no server connection is left. */
  shutDown(mode: ShutdownMode): Promise<void>;
  readonly done: Promise<void>;
};
