import pg from 'pg';
import { signalProcess } from '../../src/embedded/postgres-processes.ts';
import type { TestNode } from './test-cluster.ts';
import { until } from './wait.ts';

/**
 * Holds the base backup that a server sends, once some of it is sent, so that nothing depends on how quick it is.
 * @param over says that there is none to wait for any more
 * @returns lets it go on; null when it was over before
 */
export async function holdCopy(source: TestNode, over: () => boolean): Promise<(() => void) | null> {
  const client = new pg.Client({ connectionString: source.url });
  client.on('error', () => {});
  await client.connect();
  const sending = async () => {
    const text = 'SELECT pid FROM pg_stat_progress_basebackup WHERE backup_streamed > 4 * 1024 * 1024';
    return (await client.query<{ pid: number }>(text)).rows[0]?.pid ?? null;
  };
  try {
    for (;;) {
      const pid = await until(async () => (await sending()) ?? (over() ? 'over' : null), {
        what: 'a copy under way',
        timeoutMs: 60_000,
        everyMs: 2,
      });
      if (pid === 'over') return null;
      signalProcess(pid, 'SIGSTOP');
      const goOn = () => void signalProcess(pid, 'SIGCONT');
      // it is only still there where it was not at its end already
      if ((await sending()) === pid) return goOn;
      goOn();
    }
  } finally {
    await client.end();
  }
}
