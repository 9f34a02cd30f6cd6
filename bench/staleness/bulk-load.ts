import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import { type Backend, urlOf } from '../contender/contender.ts';

/** A transaction, and how often one begins: some 6 MB of WAL a second, which leaves most of two cores to those who are measured. */
const ROWS = 1000;
const ROW_BYTES = 500;
const EVERY_MS = 100;

const INSERT = `INSERT INTO bulk SELECT g, repeat('x', ${ROW_BYTES}) FROM generate_series(1, ${ROWS}) g`;

export const BULK_RATE = `${(ROWS * 1000) / EVERY_MS} rows of ${ROW_BYTES} bytes a second, in transactions of ${ROWS}`;

export type BulkLoad = {
  /** Ends it, and takes the rows away. @throws Error when it has failed meanwhile */
  stop(): Promise<void>;
};

/** Loads rows into the table `bulk` on the primary, on a connection of its own. */
export async function startBulkLoad(primary: Backend): Promise<BulkLoad> {
  const client = new pg.Client({ connectionString: urlOf(primary) });
  client.on('error', () => {});
  await client.connect();
  const ended = new AbortController();
  const loading = (async () => {
    let nextMs = performance.now();
    while (!ended.signal.aborted) {
      await client.query(INSERT);
      nextMs = Math.max(nextMs + EVERY_MS, performance.now());
      await sleep(nextMs - performance.now(), ended.signal);
    }
  })();
  // it is awaited in `stop`; until then a failure of it has no other handler
  loading.catch(() => {});
  return {
    stop: async () => {
      ended.abort();
      try {
        await loading;
        await client.query('TRUNCATE bulk');
      } finally {
        await client.end();
      }
    },
  };
}
