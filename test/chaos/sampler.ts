/** Asks every server itself, all the time, whether it would take a write: nobody's view of the cluster is believed. */
import net from 'node:net';
import pg from 'pg';
import { sleep } from '../../src/core/sleep.ts';
import type { TestNode } from '../support/test-cluster.ts';

export type Sample = {
  readonly node: string;
  /** Wall clock. */
  readonly startedMs: number;
  readonly endedMs: number;
  readonly system: string;
  readonly recovery: boolean;
  readonly timeline: number;
  readonly readOnly: boolean;
  /** Whether a commit would be acknowledged: nobody has to wait for it, or somebody who would is heard. */
  readonly acknowledges: boolean;
};

/** A time in which two servers took writes, of those that came to them directly. */
export type Overlap = { readonly nodes: readonly [string, string]; readonly fromMs: number; readonly ms: number };

const EVERY_MS = 20;
const ANSWER_MS = 1000;
/** Two samples of a server further apart say nothing of the time between. */
const GAP_MS = 300;
/** The address that partitions leave alone. */
const OWN_ADDRESS = '127.0.0.9';

const QUESTION = `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, pg_is_in_recovery() AS recovery,
  CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
  current_setting('default_transaction_read_only') = 'on' AS "readOnly",
  current_setting('synchronous_standby_names') = '' OR EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming'
    AND sync_state IN ('sync', 'quorum') AND reply_time > clock_timestamp() - interval '1.5 s') AS acknowledges`;

class FromOwnAddress extends net.Socket {
  override connect(port: unknown, host?: unknown): this {
    return super.connect({ port: Number(port), host: String(host), localAddress: OWN_ADDRESS });
  }
}

export class Sampler {
  #samples: Sample[] = [];
  readonly #running: Promise<unknown>;
  #stopping = false;

  constructor(nodes: readonly TestNode[]) {
    this.#running = Promise.all(nodes.map((node) => this.#watch(node)));
  }

  /** Those since the last call. */
  take(): Sample[] {
    const samples = this.#samples;
    this.#samples = [];
    return samples;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #watch({ name, url }: TestNode): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.#stopping) {
      try {
        client ??= await connected(url);
        const startedMs = Date.now();
        const [row] = (await client.query(QUESTION)).rows;
        this.#samples.push({ node: name, startedMs, endedMs: Date.now(), ...row });
        await sleep(EVERY_MS);
      } catch {
        void client?.end().catch(() => {});
        client = null;
        await sleep(2 * EVERY_MS);
      }
    }
    await Promise.race([client?.end(), sleep(500)]);
  }
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
    stream: () => new FromOwnAddress(),
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    void client.end().catch(() => {});
    throw error;
  }
}

type Run = { readonly node: string; readonly fromMs: number; toMs: number };

/** @returns the times in which two servers took writes. Pure. */
export function overlapsOf(samples: readonly Sample[]): Overlap[] {
  const runs: Run[] = [];
  const open = new Map<string, Run>();
  for (const { node, startedMs, endedMs, recovery, readOnly, acknowledges } of samples) {
    if (recovery || readOnly || !acknowledges) {
      open.delete(node);
      continue;
    }
    const run = open.get(node);
    if (run !== undefined && startedMs - run.toMs < GAP_MS) run.toMs = endedMs;
    else {
      const next = { node, fromMs: startedMs, toMs: endedMs };
      open.set(node, next);
      runs.push(next);
    }
  }
  return runs.flatMap((a, index) =>
    runs.slice(index + 1).flatMap((b) => {
      const fromMs = Math.max(a.fromMs, b.fromMs);
      const ms = Math.min(a.toMs, b.toMs) - fromMs;
      return a.node === b.node || ms <= 0 ? [] : [{ nodes: [a.node, b.node] as const, fromMs, ms }];
    }),
  );
}
