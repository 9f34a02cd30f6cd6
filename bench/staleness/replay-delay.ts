/** Keeps the replicas of a stage behind the primary, and waits until they are where they are wanted. */
import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { type Backend, type Stage, urlOf } from '../contender/contender.ts';

const POLL_MS = 50;
const MOST_MS = 60_000;

/** Every replica replays each commit no earlier than `delayMs` after it. */
export async function delayReplay({ replicas }: Stage, delayMs: number): Promise<void> {
  await onEach(replicas, async (client) => {
    await client.query(`ALTER SYSTEM SET recovery_min_apply_delay = ${delayMs}`);
    await client.query('SELECT pg_reload_conf()');
  });
}

/** Waits until no replica shows what was committed within the last `delayMs`; somebody has to commit meanwhile. @returns ms behind, of each */
export async function untilBehind({ replicas }: Stage, delayMs: number): Promise<readonly number[]> {
  // the last commit that was replayed is older than its delay, but not by more than the commits are apart
  const behind = 'SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 * 1000 AS ms';
  return onEach(replicas, async (client) => {
    let ms = 0;
    await until(`a replica to be ${delayMs} ms behind`, async () => {
      ms = Number((await client.query(behind)).rows[0].ms);
      return ms >= delayMs;
    });
    return ms;
  });
}

/** Waits until the replicas have replayed all that the primary has written by now. */
export async function untilCaughtUp({ primary, replicas }: Stage): Promise<void> {
  const [lsn] = await onEach([primary], async (client) => {
    return (await client.query('SELECT pg_current_wal_flush_lsn()::text AS lsn')).rows[0].lsn as string;
  });
  await onEach(replicas, (client) =>
    until('the replicas to catch up', async () => {
      const { rows } = await client.query('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached', [lsn]);
      return rows[0].reached;
    }),
  );
}

export function onEach<T>(backends: readonly Backend[], run: (client: pg.Client) => Promise<T>): Promise<T[]> {
  return Promise.all(
    backends.map(async (backend) => {
      const client = new pg.Client({ connectionString: urlOf(backend) });
      await client.connect();
      try {
        return await run(client);
      } finally {
        await client.end();
      }
    }),
  );
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + MOST_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await sleep(POLL_MS);
  }
}
