import { show } from './command.ts';

export const SHOW_TRAFFIC = show({
  name: 'TRAFFIC',
  help: 'statements by node since the start, their rates now and their latencies over the last minute',
  columns: {
    node: 'text',
    total_query_count: 'int8',
    total_read_count: 'int8',
    total_write_count: 'int8',
    query_per_second: 'float8',
    read_per_second: 'float8',
    write_per_second: 'float8',
    read_share: 'float8',
    p50_ms: 'float8',
    p95_ms: 'float8',
    p99_ms: 'float8',
    p999_ms: 'float8',
  },
  rows: ({ traffic }) =>
    traffic.snapshot().nodes.map(({ name, total, perSecond, reads, writes, readShare, latencyMs }) => ({
      node: name,
      total_query_count: total,
      total_read_count: reads.total,
      total_write_count: writes.total,
      query_per_second: perSecond,
      read_per_second: reads.perSecond,
      write_per_second: writes.perSecond,
      read_share: readShare,
      p50_ms: latencyMs.p50,
      p95_ms: latencyMs.p95,
      p99_ms: latencyMs.p99,
      p999_ms: latencyMs.p999,
    })),
});
