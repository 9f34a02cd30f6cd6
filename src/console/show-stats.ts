import type { NodeTraffic } from '../frontend/traffic.ts';
import { show } from './command.ts';

/** Statements are counted by node, not by database: this stands for all of them. */
const ALL_DATABASES = '*';

/** https://www.pgbouncer.org/usage.html#show-stats; null is what is not counted here; from `node` on the columns are ours. */
export const SHOW_STATS = show({
  name: 'STATS',
  help: 'statements by node since the start, their rates now and their latencies over the last minute',
  columns: {
    database: 'text',
    total_xact_count: 'int8',
    total_query_count: 'int8',
    total_received: 'int8',
    total_sent: 'int8',
    total_xact_time: 'int8',
    total_query_time: 'int8',
    total_wait_time: 'int8',
    avg_xact_count: 'int8',
    avg_query_count: 'int8',
    avg_recv: 'int8',
    avg_sent: 'int8',
    avg_xact_time: 'int8',
    avg_query_time: 'int8',
    avg_wait_time: 'int8',
    node: 'text',
    total_read_count: 'int8',
    total_write_count: 'int8',
    avg_read_count: 'int8',
    avg_write_count: 'int8',
    read_share: 'float8',
    p50_ms: 'float8',
    p95_ms: 'float8',
    p99_ms: 'float8',
    p999_ms: 'float8',
  },
  rows({ traffic }, { asPgbouncer }) {
    const { nodes, statements, reads, writes, readsOnReplicas } = traffic.snapshot();
    if (!asPgbouncer) return nodes.map((node) => rowOf(node));
    const { read, write } = traffic.histograms;
    const timed = read.totalCount + write.totalCount;
    const micros = (read.totalSumMs + write.totalSumMs) * 1000;
    return [
      {
        ...rowOf({ ...statements, reads, writes, readShare: readsOnReplicas }),
        total_query_time: micros,
        avg_query_time: timed === 0 ? 0 : micros / timed,
      },
    ];
  },
});

type Counted = Omit<NodeTraffic, 'name' | 'latencyMs'> & Partial<Pick<NodeTraffic, 'name' | 'latencyMs'>>;

function rowOf({ name, total, perSecond, reads, writes, readShare, latencyMs }: Counted) {
  return {
    database: ALL_DATABASES,
    total_xact_count: null,
    total_query_count: total,
    total_received: null,
    total_sent: null,
    total_xact_time: null,
    total_query_time: null as number | null,
    total_wait_time: null,
    avg_xact_count: null,
    avg_query_count: perSecond,
    avg_recv: null,
    avg_sent: null,
    avg_xact_time: null,
    avg_query_time: null as number | null,
    avg_wait_time: null,
    node: name ?? null,
    total_read_count: reads.total,
    total_write_count: writes.total,
    avg_read_count: reads.perSecond,
    avg_write_count: writes.perSecond,
    read_share: readShare,
    p50_ms: latencyMs?.p50 ?? null,
    p95_ms: latencyMs?.p95 ?? null,
    p99_ms: latencyMs?.p99 ?? null,
    p999_ms: latencyMs?.p999 ?? null,
  };
}
