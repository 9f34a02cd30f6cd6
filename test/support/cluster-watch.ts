/** Looks at every server of a test cluster several times a second, past Fairlead and past its network, and judges what it saw. */
import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import type { TestCluster, TestNode } from './test-cluster.ts';

const EVERY_MS = 60;
/** A server that does not answer within this is frozen. */
const PATIENCE_MS = 1000;

export type Sample = {
  readonly node: string;
  /** Monotonic milliseconds, before the question and after the answer. */
  readonly startedMs: number;
  readonly endedMs: number;
  readonly systemId: string;
  readonly timeline: number;
  /** As a primary where it writes, else what it has replayed. */
  readonly lsn: bigint;
  readonly recovery: boolean;
  /** Fairlead's fence is up. */
  readonly fenced: boolean;
};

/** Two servers that would have taken writes at one time. */
export type TwoWriters = { readonly nodes: readonly [string, string]; readonly fromMs: number; readonly toMs: number };

const LOOK = `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_id, pg_is_in_recovery() AS recovery,
  CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
  (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::text AS lsn,
  current_setting('default_transaction_read_only') = 'on'
    AND current_setting('synchronous_standby_names') LIKE '%fairlead_fence_%' AS fenced`;

type Row = { system_id: string; recovery: boolean; timeline: number; lsn: string | null; fenced: boolean };

export class ClusterWatch {
  readonly samples: Sample[] = [];
  readonly #running: Promise<unknown>;
  #stopping = false;

  constructor(cluster: TestCluster) {
    this.#running = Promise.all(cluster.nodes.map((node) => this.#watch(node)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  of(node: string): Sample[] {
    return this.samples.filter((sample) => sample.node === node);
  }

  /** Those that took writes on one timeline: more than one would be twins, whose WAL nobody can tell apart. */
  writersByTimeline(): ReadonlyMap<number, ReadonlySet<string>> {
    const writers = new Map<number, Set<string>>();
    for (const { node, timeline, recovery } of this.samples) {
      if (!recovery) writers.set(timeline, (writers.get(timeline) ?? new Set()).add(node));
    }
    return writers;
  }

  /** When two servers were writable and not fenced at one time, whether or not anybody could reach them. */
  twoWriters(): TwoWriters[] {
    const spans = [...new Set(this.samples.map(({ node }) => node))].map((node) => writableSpans(this.of(node)));
    return spans.flatMap((some, i) =>
      spans.slice(i + 1).flatMap((others) =>
        some.flatMap((a) =>
          others.flatMap((b): TwoWriters[] => {
            const [fromMs, toMs] = [Math.max(a.fromMs, b.fromMs), Math.min(a.toMs, b.toMs)];
            return fromMs < toMs ? [{ nodes: [a.node, b.node], fromMs, toMs }] : [];
          }),
        ),
      ),
    );
  }

  /** On one timeline a server only moves on. */
  stepsBack(): Sample[] {
    const last = new Map<string, Sample>();
    return this.samples.filter((sample) => {
      const key = `${sample.node} ${sample.timeline} ${sample.recovery}`;
      const before = last.get(key);
      last.set(key, sample);
      return before !== undefined && before.lsn > sample.lsn;
    });
  }

  async #watch(node: TestNode): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.#stopping) {
      const startedMs = performance.now();
      try {
        if (client === null) {
          const config = { connectionString: node.localUrl, connectionTimeoutMillis: PATIENCE_MS };
          client = new pg.Client({ ...config, query_timeout: PATIENCE_MS });
          client.on('error', () => {});
          await client.connect();
        }
        const row = (await client.query<Row>(LOOK)).rows[0] as Row;
        const { system_id: systemId, timeline, recovery, fenced } = row;
        const lsn = BigInt(row.lsn ?? 0);
        this.samples.push({
          ...{ node: node.name, startedMs, endedMs: performance.now() },
          ...{ systemId, timeline, lsn, recovery, fenced },
        });
      } catch {
        // down, frozen, or its sessions were ended
        const broken = client;
        client = null;
        await broken?.end().catch(() => {});
      }
      await sleep(EVERY_MS);
    }
    await client?.end().catch(() => {});
  }
}

/** From one answer to the next, where both say that writes are taken. */
function writableSpans(samples: readonly Sample[]): { node: string; fromMs: number; toMs: number }[] {
  const spans: { node: string; fromMs: number; toMs: number }[] = [];
  let open: { node: string; fromMs: number; toMs: number } | null = null;
  for (const { node, startedMs, endedMs, recovery, fenced } of samples) {
    const writable = !recovery && !fenced;
    if (writable && open !== null && endedMs - open.toMs < 2 * PATIENCE_MS) open.toMs = startedMs;
    else if (writable) {
      open = { node, fromMs: endedMs, toMs: endedMs };
      spans.push(open);
    } else open = null;
  }
  return spans;
}
