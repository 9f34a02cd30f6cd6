import type { ControlNodes } from './control-nodes.ts';
import { until } from './until.ts';

const STATEMENT_MS = 2000;
const STATUS_INTERVAL_MS = 1000;

/** What a replica's receiver is set to, after `tune` had its way or not. */
export type ReceiverSettings = {
  /** `wal_receiver_timeout`; 0 means never. */
  readonly timeoutMs: number;
  /** What was changed, for people; null: nothing. */
  readonly changed: string | null;
  /** Why it could not be changed; null: it could, or was right. */
  readonly obstacle: string | null;
};

const READ = `SELECT (SELECT setting::int FROM pg_settings WHERE name = 'wal_receiver_timeout') AS timeout,
  (SELECT setting::int * 1000 FROM pg_settings WHERE name = 'wal_receiver_status_interval') AS interval`;

type Row = { timeout: number; interval: number };

/**
 * A primary that hangs keeps its replicas' receivers "streaming" until their `wal_receiver_timeout`. So that a stream that is still up
 * when the primary is suspected proves it alive, that time has to be shorter than `failover.timeout`: two thirds of it.
 * @throws ControlError when the node does not answer
 */
export async function tuneReceiver(
  nodes: ControlNodes,
  node: string,
  failoverTimeoutMs: number,
): Promise<ReceiverSettings> {
  const limitMs = Math.floor((failoverTimeoutMs * 2) / 3);
  const [row] = await nodes.query<Row>(node, READ, [], STATEMENT_MS);
  if (row === undefined) return { timeoutMs: 60_000, changed: null, obstacle: null };
  const wanted: Record<string, string> = {};
  if (row.timeout === 0 || row.timeout > limitMs) wanted.wal_receiver_timeout = `${limitMs}ms`;
  if (row.interval === 0 || row.interval > STATUS_INTERVAL_MS) wanted.wal_receiver_status_interval = '1s';
  const names = Object.entries(wanted).map(([name, value]) => `${name} = ${value}`);
  if (names.length === 0) return { timeoutMs: row.timeout, changed: null, obstacle: null };
  try {
    await nodes.alterSystem(node, wanted, STATEMENT_MS);
  } catch (error) {
    const obstacle = `${error instanceof Error ? error.message : String(error)}; wanted ${names.join(', ')}`;
    return { timeoutMs: row.timeout, changed: null, obstacle };
  }
  const after = await until(STATEMENT_MS, async () => {
    const [now] = await nodes.query<Row>(node, READ, [], STATEMENT_MS);
    return now !== undefined && now.timeout !== 0 && now.timeout <= limitMs ? now : null;
  });
  if (after === null) return { timeoutMs: row.timeout, changed: null, obstacle: `${names.join(', ')} did not take` };
  return { timeoutMs: after.timeout, changed: names.join(', '), obstacle: null };
}
