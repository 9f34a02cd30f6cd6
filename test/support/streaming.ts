import type { TestCluster, TestNode } from './test-cluster.ts';
import { until } from './wait.ts';

/** Waits until `replicas` of them stream from pg1. */
export async function untilStreaming(cluster: TestCluster, replicas: number): Promise<void> {
  const streaming = "SELECT count(*)::int AS n FROM pg_stat_replication WHERE state = 'streaming'";
  const primary = cluster.nodes[0] as TestNode;
  await until(async () => (await primary.query<{ n: number }>(streaming))[0]?.n === replicas, {
    what: `${replicas} streaming replicas`,
    timeoutMs: 60_000,
  });
}
