import type { Cluster } from '../cluster/cluster.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import type { TablesRead } from '../sql/tables-read.ts';

const NOBODY: readonly TopologyNode[] = [];

/**
 * Logical subscribers that have everything a statement reads, which must be nothing but tables that they have as the primary has them: compared
 * with the schema that the stream tells of now, not later than the stream has come, and not before anything that may have changed everything.
 */
export function subscribersOf(
  tables: TablesRead | null,
  cluster: Cluster,
  { subscribers, timeline }: Topology,
): readonly TopologyNode[] {
  if (subscribers.length === 0 || tables === null || !tables.plain || tables.oids.length === 0) return NOBODY;
  const { freshness, observations } = cluster;
  if (freshness.timeline !== timeline) return NOBODY;
  return subscribers.filter(({ name }) => {
    const known = observations.of(name).last?.subscription;
    if (known === undefined || known.obstacle !== null) return false;
    if (known.schemaVersion !== freshness.schema.version || known.comparedLsn > freshness.asOf) return false;
    if (known.comparedLsn < freshness.lastChangeOfAll) return false;
    return tables.oids.every((oid) => known.tables.has(oid));
  });
}
