import type { Cluster } from '../cluster/cluster.ts';
import { wallMs } from '../core/clock.ts';
import { formatLsn, type Lsn } from '../core/lsn.ts';
import { show } from './command.ts';

/** When tables were last written, as the logical stream tells, and which replicas have that; the newest first. */
export const SHOW_FRESHNESS = show({
  name: 'FRESHNESS',
  help: 'tables: last change, and which replicas are current for them',
  columns: {
    table: 'text',
    last_change_lsn: 'text',
    changed_ms_ago: 'float8',
    current_on: 'text',
    known_until: 'text',
  },
  rows: ({ cluster }) => {
    const { freshness } = cluster;
    const tables = freshness
      .entries()
      .sort((a, b) => (a.lastChange < b.lastChange ? 1 : a.lastChange > b.lastChange ? -1 : 0));
    return [{ name: '(any other)', lastChange: freshness.lastChangeOfAll }, ...tables].map(({ name, lastChange }) => ({
      table: name,
      last_change_lsn: formatLsn(lastChange),
      changed_ms_ago: ageMs(cluster, lastChange),
      current_on: currentOn(cluster, lastChange),
      known_until: formatLsn(freshness.asOf),
    }));
  },
});

function ageMs({ commits, assignment, observations }: Cluster, endLsn: Lsn): number | null {
  const committedMs = endLsn === 0n ? null : commits.oldestAfter((endLsn - 1n) as Lsn);
  const { primary } = assignment.value;
  if (committedMs === null || primary === null) return null;
  return Math.max(0, wallMs() + (observations.of(primary).last?.clockOffsetMs ?? 0) - committedMs);
}

function currentOn(cluster: Cluster, lastChange: Lsn): string {
  const { replicas, lagging } = cluster.topology.value;
  return [...replicas, ...lagging]
    .filter(({ name }) => cluster.replayLsn(name) >= lastChange)
    .map(({ name }) => name)
    .sort()
    .join(', ');
}
