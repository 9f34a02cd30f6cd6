import type { Identity } from '../backend/pools.ts';
import type { Rider } from '../backend/shared-connection.ts';
import type { Config } from '../config/config.ts';
import type { Causality } from '../routing/causality.ts';
import type { RouteReason } from '../routing/decision.ts';
import type { Consistency } from '../routing/route-read.ts';
import type { TablesRead } from '../sql/tables-read.ts';
import type { MovableStart } from './movable-start.ts';
import type { SchemaView } from './schema-view.ts';
import type { Client } from './session.ts';
import type { SessionMemory } from './session-memory.ts';
import type { SessionOptions } from './session-options.ts';
import type { SessionSettings } from './session-settings.ts';
import { queryEndsBatch, summarize, type Work } from './work.ts';

/** What has to be placed. */
export type PlacementRequest = {
  readonly database: string;
  readonly identity: Identity;
  /** Null: may only run on the primary, for `reason`. */
  readonly read: {
    readonly consistency: Consistency;
    readonly maxStalenessMs: number | null;
    readonly hint: 'primary' | 'replica' | null;
    readonly causality: Causality;
    readonly replicaReason: RouteReason | null;
    readonly tables: TablesRead | null;
  } | null;
  readonly reason: RouteReason;
  /** Only on connections that open read-only transactions, on the primary too. */
  readonly readOnly: boolean;
  /** Where it may stand behind reads of others; null: it needs a connection to itself. */
  readonly rider: Rider | null;
  /** Nodes that refused or lost the statement before. */
  readonly avoid: ReadonlySet<string> | null;
};

/** What a session knows about the request it wants to place. */
export type Known = {
  readonly settings: SessionSettings;
  readonly memory: SessionMemory;
  readonly options: SessionOptions;
  readonly causality: Causality;
  readonly start: Pick<MovableStart, 'splits'>;
};

/** Where a request of a session may go. */
export function placementRequest(
  client: Client,
  work: Work,
  known: Known,
  schema: SchemaView,
  config: Config,
  rider: Rider | null,
): PlacementRequest {
  const { memory, options, causality, settings } = known;
  const summary = summarize(work.verdicts);
  const outdated = schema.outdates(work.verdicts);
  const whole = (work.synced || work.describeOnly) && !queryEndsBatch(work);
  // a session that keeps its connection for good keeps one that can write
  const mustBePrimary = memory.primaryOnly || outdated || settings.now.mode === 'session';
  const consistency = options.consistencyOfReads(config.routing.consistency);
  const split =
    !client.readOnly && (consistency === 'session' || consistency === 'eventual') && known.start.splits(work);
  const read = {
    consistency,
    maxStalenessMs: summary.maxStalenessMs ?? options.maxStalenessMs,
    hint: summary.hint,
    causality,
    replicaReason: split ? 'split transaction' : summary.replicaReason,
    tables: whole ? summary.tables : null,
  };
  return {
    database: client.database,
    identity: client.identity,
    read:
      work.forced === null && (client.readOnly || ((summary.read || split) && whole && !mustBePrimary)) ? read : null,
    reason: work.forced ?? (summary.read && outdated ? 'session state' : summary.reason),
    readOnly: client.readOnly,
    rider,
    avoid: work.avoid,
  };
}
