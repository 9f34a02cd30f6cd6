import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import type { Job, ReadKind, ReadTally, SessionsResult } from './job.ts';

type Sessions = Extract<Job, { kind: 'sessions' }>;

/** Tables that the job wants: `session_rows (id, v)`, a row for each writer from 0 on, and `untouched (id, v)` with so many rows. */
export const UNTOUCHED_ROWS = 10_000;

/** Between two rounds of a session, on average: the servers are not to be full, or a latency is the length of a queue. */
const PAUSE_MS = 20;

/** The first reads of a connection are not counted: its server process fills its caches, pgpool asks for the catalogs. */
const LEAD_IN_MS = 1000;

const WRITE = 'UPDATE session_rows SET v = $1 WHERE id = $2';
// the same question for everybody tells who answered; pg_is_in_recovery() is volatile, and pgpool would send it to the primary
const READ_WRITTEN = 'SELECT v, inet_server_port() AS port FROM session_rows WHERE id = $1';
const READ_UNTOUCHED = 'SELECT v, inet_server_port() AS port FROM untouched WHERE id = $1';

type Tally = { -readonly [K in keyof ReadTally]: ReadTally[K] } & {
  readonly latenciesMs: number[];
  readonly byPort: Record<string, number>;
};

/**
 * Sessions with a connection each. A writer raises the value in its own row and, once that is acknowledged, reads it back, then the row of
 * another writer, then one that nobody writes; a reader reads the latter only.
 */
export async function sessions({ target, writers, readers, seconds }: Sessions): Promise<SessionsResult> {
  let tallies = emptyTallies();
  const clients = await Promise.all(Array.from({ length: writers + readers }, () => connect(target)));
  try {
    for (const ms of [LEAD_IN_MS, seconds * 1000]) {
      tallies = emptyTallies();
      const endMs = performance.now() + ms;
      await Promise.all(
        clients.map((client, id) =>
          id < writers ? write(client, id, writers, endMs, tallies) : read(client, endMs, tallies.untouched),
        ),
      );
    }
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
  return tallies;
}

function emptyTallies(): Record<ReadKind, Tally> {
  const empty = (): Tally => ({ latenciesMs: [], stale: 0, byPort: {} });
  return { own: empty(), others: empty(), 'untouched-by-writer': empty(), untouched: empty() };
}

async function write(
  client: pg.Client,
  id: number,
  writers: number,
  endMs: number,
  tallies: Record<ReadKind, Tally>,
): Promise<void> {
  /** By row: the least that it may hold in the eyes of this session. */
  const seen = new Map<number, number>();
  // above whatever another run has left in the row
  let value = Date.now() * 1000;
  while (performance.now() < endMs) {
    await client.query(WRITE, [++value, id]);
    seen.set(id, value);
    await ask(client, READ_WRITTEN, id, seen, tallies.own);
    const other = (id + 1 + Math.floor(Math.random() * (writers - 1))) % writers;
    await ask(client, READ_WRITTEN, other, seen, tallies.others);
    await ask(client, READ_UNTOUCHED, anyUntouched(), null, tallies['untouched-by-writer']);
    await pause();
  }
}

async function read(client: pg.Client, endMs: number, tally: Tally): Promise<void> {
  while (performance.now() < endMs) {
    await ask(client, READ_UNTOUCHED, anyUntouched(), null, tally);
    await pause();
  }
}

async function ask(
  client: pg.Client,
  statement: string,
  id: number,
  seen: Map<number, number> | null,
  tally: Tally,
): Promise<void> {
  const startMs = performance.now();
  const { rows } = await client.query<{ v: string; port: number }>(statement, [id]);
  tally.latenciesMs.push(performance.now() - startMs);
  const [row] = rows;
  if (row === undefined) throw new Error(`no row ${id} for ${statement}`);
  tally.byPort[row.port] = (tally.byPort[row.port] ?? 0) + 1;
  if (seen === null) return;
  const value = Number(row.v);
  const least = seen.get(id) ?? 0;
  if (value < least) tally.stale++;
  else seen.set(id, value);
}

function anyUntouched(): number {
  return Math.floor(Math.random() * UNTOUCHED_ROWS);
}

function pause(): Promise<void> {
  return sleep(Math.random() * 2 * PAUSE_MS);
}

async function connect({ host, port, user, password, database }: Sessions['target']): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user, password, database });
  // a query that is under way is rejected as well
  client.on('error', () => {});
  await client.connect();
  return client;
}
