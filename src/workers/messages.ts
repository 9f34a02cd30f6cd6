/** What the control process and its workers say to each other. Each worker has a channel of its own; there is none between workers. */

import type { Assignment } from '../cluster/assignment.ts';
import type { Failure, Observation } from '../cluster/observation.ts';
import type { NodePosition, NodeRecord } from '../cluster/observations.ts';
import type { OperatorIntent } from '../cluster/operator.ts';
import type { AuditedRead } from '../cluster/read-audit.ts';
import type { FreshnessChange } from '../cluster/table-freshness.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import type { Operator } from '../console/command.ts';
import type { ClockOrigin } from '../core/clock.ts';
import type { LogLevel } from '../core/log.ts';
import type { Lsn } from '../core/lsn.ts';
import type { Limits, Signal } from '../frontend/neighbours.ts';
import type { Where } from '../frontend/sessions.ts';
import type { ShutdownMode } from '../frontend/shutdown.ts';
import type { Order } from '../plane/plane.ts';

/** One write to the model, in the order of the writes. */
export type ModelChange =
  | { readonly kind: 'assignment'; readonly value: Assignment }
  | { readonly kind: 'operator'; readonly value: OperatorIntent }
  /** Everything about a node, with its newest positions. */
  | {
      readonly kind: 'node';
      readonly node: string;
      readonly record: NodeRecord;
      readonly trail: readonly NodePosition[];
    }
  | { readonly kind: 'seen'; readonly seen: Observation }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'position'; readonly node: string; readonly position: NodePosition }
  | { readonly kind: 'commits'; readonly endLsns: BigUint64Array; readonly timesMs: Float64Array }
  | { readonly kind: 'commits reset' }
  | { readonly kind: 'freshness'; readonly changes: readonly FreshnessChange[] };

export type Beginning = {
  readonly config: Config;
  /** Of the cluster, each in its place. */
  readonly nodes: readonly NodeConfig[];
  readonly index: number;
  readonly clock: ClockOrigin;
  /** What unknown users' salts are made of where there is no private key: of all workers the same, or they could be told from known ones. */
  readonly seed: Buffer;
  readonly model: readonly ModelChange[];
};

/** To a worker. What answers is behind the arrow; without one nothing is asked. */
export type ToWorker =
  /** First of all. → null, when clients may come */
  | ({ readonly kind: 'begin' } & Beginning)
  | { readonly kind: 'model'; readonly changes: readonly ModelChange[] }
  /** A client, as the socket that comes along; `clients` counts those of all workers, this one included. → null */
  | { readonly kind: 'client'; readonly address: string | null; readonly readOnly: boolean; readonly clients: number }
  /** → Overview, ClientReport[], ServerReport[], PoolReport[], ProcessReport */
  | { readonly kind: 'overview' | 'clients' | 'servers' | 'pools' | 'process' }
  /** → null */
  | { readonly kind: 'order'; readonly order: Order }
  | { readonly kind: 'configure'; readonly config: Config }
  /** They have joined; told before anything else is told of them. */
  | { readonly kind: 'nodes'; readonly nodes: readonly NodeConfig[] }
  | { readonly kind: 'schema changed' }
  /** → null, when all that was told before has been acted on */
  | { readonly kind: 'settled' }
  /** → null */
  | { readonly kind: 'quiesce'; readonly timeoutMs: number }
  /** → AcknowledgedTables[] */
  | { readonly kind: 'acknowledged'; readonly afterMs: number }
  /** → null, when nobody is left */
  | { readonly kind: 'shut down'; readonly mode: ShutdownMode }
  | ToNeighbour;

/** To another worker, passed on. */
export type ToNeighbour =
  /** → null */
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  /** → 'done' | 'refused' | 'unknown' */
  | { readonly kind: 'signal'; readonly signal: Signal }
  | { readonly kind: 'sequence reader'; readonly of: string };

/** From a worker. */
export type FromWorker =
  | { readonly kind: 'log'; readonly level: LogLevel; readonly fields: object; readonly text: string }
  /** So many connections of clients have ended. */
  | { readonly kind: 'left'; readonly clients: number }
  /** → how many there are at this moment, over all workers */
  | { readonly kind: 'clients' }
  /** → Sample, of the primary's position and started later than this was said */
  | { readonly kind: 'sample' }
  /** Somebody waits until a replica has replayed this; zero: nobody does. */
  | { readonly kind: 'await'; readonly lsn: Lsn }
  /** → null | keyof Limits */
  | { readonly kind: 'enter'; readonly where: Where; readonly limits: Limits }
  | { readonly kind: 'leave'; readonly where: Where }
  | { readonly kind: 'audited'; readonly read: AuditedRead }
  /** A command of the console: its words, as in the table of commands. → Outcome */
  | {
      readonly kind: 'run';
      readonly id: number;
      readonly words: readonly string[];
      readonly argument: string | null;
      readonly operator: Omit<Operator, 'signal'>;
    }
  | { readonly kind: 'abort'; readonly id: number }
  | ToNeighbour;

export type Sample = { readonly timeline: number; readonly lsn: Lsn };
