/** What the HTTP side needs from the other parts. `app.ts` hands it over; nothing here opens a connection to PostgreSQL itself. */
import type { Cluster } from '../cluster/cluster.ts';
import type { ScheduledSwitchover } from '../cluster/operator.ts';
import type { Change } from '../config/difference.ts';
import type { Address } from '../config/units.ts';
import type { LatencyCounts } from '../core/latency-histogram.ts';
import type { Log } from '../core/log.ts';
import type { Signal } from '../core/signal.ts';
import type { SwitchoverWish } from '../failover/controller.ts';
import type { SwitchoverPlan } from '../failover/plan-switchover.ts';
import type { TrafficSnapshot } from '../frontend/traffic-snapshot.ts';
import type { ReplicationState } from '../replication/replication.ts';
import type { LagSample } from '../store/records.ts';

/** Something that happened to the cluster, for people and for scripts. */
export type ClusterEvent = {
  readonly id: string;
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
  /** One word: `failover`, `switchover`, `promoted`, `role`, `fenced`, … */
  readonly kind: string;
  /** Epoch it belongs to; null when it is not part of an assignment. */
  readonly epoch: number | null;
  /** The node it is about; for a failover the new primary. */
  readonly node: string | null;
  /** One sentence for people. */
  readonly message: string;
  /** What a failover or switchover lost; null where nothing could be lost. */
  readonly lost: LostWal | null;
  /** Whatever else is known, as JSON. */
  readonly details: Readonly<Record<string, unknown>>;
};

/** WAL of the old primary that the new one does not have. */
export type LostWal = {
  /** Bytes between the fork and the newest position known of the old primary. */
  readonly bytes: number;
  /** Acknowledged commits among them as far as the stream told them; null when that is not known. */
  readonly commits: number | null;
  /** Writes acknowledged through Fairlead that nothing proves to have survived: at most these, besides the commits above. */
  readonly unproven: number;
  readonly fromLsn: string | null;
  readonly toLsn: string | null;
};

export type EventSource = {
  /** Newest first. Must answer while there is no primary too. */
  list(limit: number): Promise<readonly ClusterEvent[]>;
  /** @returns the function that unsubscribes. */
  subscribe(listener: (event: ClusterEvent) => void): () => void;
};

/** Samples older than what the API remembers itself: the store. */
export type LagHistory = {
  /** Ascending by time, `sinceMs` included, `untilMs` not. `node` null: all. */
  lagHistory(sinceMs: number, untilMs: number, node: string | null): Promise<readonly LagSample[]>;
};

/** How a move ended: from the request until the new primary had its replicas. */
export type Moved = { readonly tookMs: number };

/** What was given up. */
export type Cancelled = { readonly scheduled: ScheduledSwitchover | null; readonly underWay: boolean };

/** @throws FairleadError `refused` with the reason when it cannot be done now. */
export type Operations = {
  switchover(wish?: SwitchoverWish): Promise<Moved>;
  /** What it would do now. */
  planSwitchover(wish?: SwitchoverWish): Promise<SwitchoverPlan>;
  /** @param atMs wall clock, milliseconds since 1970 */
  scheduleSwitchover(wish: SwitchoverWish, atMs: number): ScheduledSwitchover;
  /** Whatever is scheduled, and what is under way. @throws also when there is nothing to cancel, or it is too late */
  cancelSwitchover(): Promise<Cancelled>;
  /** @param allowDataLoss also a replica that may lack commits which synchronous replication promised */
  failover(allowDataLoss?: boolean): Promise<Moved>;
  /** @param database as clients name it; left out: all traffic */
  pause(database?: string): void;
  /** @param database left out: everything that is paused */
  resume(database?: string): void;
  /** Takes one `pause` back: what is paused beside it stays so. */
  withdrawPause(database?: string): void;
  /** Whether the database takes new clients. */
  allow(database: string, allowed: boolean): void;
  drain(node: string): void;
  undrain(node: string): void;
};

/** Server connections of one pool (node, database, user). */
export type PoolStat = {
  readonly node: string;
  readonly database: string;
  readonly user: string;
  /** Most connections it may open. */
  readonly size: number;
  /** In use by a session or with replies outstanding. */
  readonly active: number;
  readonly idle: number;
  readonly connecting: number;
  /** Sessions that wait for one. */
  readonly waiting: number;
  /** How long the first of them has waited. */
  readonly maxWaitMs: number;
  /** Reads that were sent behind those of other sessions, and those of them that were taken away again. */
  readonly sharedReads: number;
  readonly displacedReads: number;
};

/** Statements answered, by all processes. */
export type TrafficSource = {
  snapshot(): TrafficSnapshot;
  /** Latencies since the start, for Prometheus. */
  readonly histograms: { readonly read: LatencyCounts; readonly write: LatencyCounts };
};

export type PoolSource = { pools(): readonly PoolStat[] };

/** Clients that are connected to us. */
export type SessionStat = {
  readonly total: number;
  /** A statement is running, or a transaction is open. */
  readonly active: number;
  readonly idle: number;
  /** Keep a server connection for themselves. */
  readonly pinned: number;
  /** Wait for a server connection or for a replica to catch up. */
  readonly waiting: number;
  /** Parked because there is no primary, or because an operator paused. */
  readonly held: number;
};

/** A process that serves clients; `worker` counts from 1. */
export type WorkerStat = {
  readonly worker: number;
  readonly cpu: { readonly user: number; readonly system: number };
  readonly memory: { readonly rss: number };
  readonly clients: number;
};

export type SessionSource = { sessions(): SessionStat };

/** A server that is made to follow the primary again; the agent's `Repair`, as JSON. */
export type RepairSource = {
  of(node: string): object | null;
  /** Begins it. @throws FairleadError `refused` with the reason */
  rejoin(node: string, method: 'auto' | 'rewind' | 'clone'): object;
};

/** How commits reach us: `Replication`. */
export type ReplicationSource = { readonly state: Signal<ReplicationState> };

export type ApiDependencies = {
  /** Where to listen; port 0 lets the system choose. */
  readonly http: Address;
  /** Bearer token for POST, or null. Without one, POST works on loopback only. */
  readonly token: string | null;
  readonly version: string;
  readonly cluster: Cluster;
  readonly traffic: TrafficSource;
  readonly operations: Operations;
  readonly events: EventSource;
  readonly lagHistory: LagHistory;
  readonly replication: ReplicationSource;
  readonly pools: PoolSource;
  readonly sessions: SessionSource;
  readonly repairs: RepairSource;
  workers(): Promise<readonly WorkerStat[]>;
  /** Brings traffic, pools and sessions up to date where other processes have them. */
  refresh(): Promise<void>;
  /** False while Fairlead takes no new clients because it is about to end. */
  accepting(): boolean;
  /** @throws FairleadError bad_config; then nothing was applied */
  reload(): Promise<readonly Change[]>;
  readonly log: Log;
};
