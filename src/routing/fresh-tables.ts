import type { Cluster } from '../cluster/cluster.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import { bytesBetween, type Lsn } from '../core/lsn.ts';
import type { TablesRead } from '../sql/tables-read.ts';

/**
 * What the stream knows of the tables that a read reads. A replica that has replayed `lastChange` is current for them as of the position
 * that the stream has told, however far behind it is otherwise.
 */
export type KnownTables = {
  readonly lastChange: Lsn;
  /** Where the stream stands: of what comes later nothing is known. */
  readonly asOf: Lsn;
};

/**
 * @returns null when nothing is known. The tables were resolved with a catalog: it has to be the one of the stream's position. An older one lacks what DDL
 *   has changed, and a newer one has what replicas need not have yet.
 */
export function knownTables(tables: TablesRead | null, cluster: Cluster, topology: Topology): KnownTables | null {
  if (tables === null) return null;
  const { freshness } = cluster;
  const { stamp, oids } = tables;
  if (stamp.schemaVersion !== freshness.schema.version || stamp.lsn > freshness.asOf) return null;
  if (freshness.timeline !== topology.timeline) return null;
  return { lastChange: freshness.lastChangeOf(oids), asOf: freshness.asOf };
}

/**
 * True when the tables are on the replica what they were at `floor` (null: no session is bound to anything), or later.
 * @param maxStalenessMs null: no bound but `routing.max_lag`, which counts where the replica is beyond it
 */
export function hasTables(
  node: TopologyNode,
  { lastChange, asOf }: KnownTables,
  floor: Lsn | null,
  maxStalenessMs: number | null,
  cluster: Cluster,
): boolean {
  const replayed = cluster.replayLsn(node.name);
  if (floor !== null && asOf < floor) return false;
  const lagging = node.state === 'lagging';
  if (!lagging && maxStalenessMs === null)
    return floor !== null && replayed >= (lastChange < floor ? lastChange : floor);
  if (replayed < lastChange) return false;
  // nothing has happened to them since, as far as the stream has come
  if (maxStalenessMs !== null && cluster.toldLagMs() > maxStalenessMs) return false;
  if (!lagging) return true;
  const { ms, bytes } = cluster.maxLag;
  if (ms !== null && cluster.toldLagMs() > ms) return false;
  return bytes === null || bytesBetween(asOf, cluster.primaryLsn()) <= bytes;
}
