import type { TestCluster, TestNode } from './cluster.ts';
import { until } from './wait.ts';

/** Waits until the replica has replayed all that the primary pg1 has written by now. */
export async function untilReplayed(cluster: TestCluster, replica: TestNode): Promise<void> {
  const [row] = await cluster.node('pg1').query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  const reached = 'SELECT 1 WHERE pg_last_wal_replay_lsn() >= $1::pg_lsn';
  await until(async () => (await replica.query(reached, [row?.lsn])).length === 1, {
    what: `${replica.name} to have everything`,
  });
}

/** Runs it while replicas stand still at what the primary pg1 has now: they show what was before. */
export async function whileReplayIsPaused(
  cluster: TestCluster,
  names: readonly string[],
  run: () => Promise<void>,
): Promise<void> {
  const replicas = names.map((name) => cluster.node(name));
  for (const replica of replicas) {
    await untilReplayed(cluster, replica);
    await replica.query('SELECT pg_wal_replay_pause()');
  }
  try {
    await run();
  } finally {
    for (const replica of replicas) await replica.query('SELECT pg_wal_replay_resume()');
  }
}
