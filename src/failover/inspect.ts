import pg from 'pg';
import { type ControlTarget, controlLogin } from '../backend/control-connection.ts';
import type { ControlNodes } from './control-nodes.ts';
import { historyFileName, parseTimelineHistory, type TimelineHistory } from './timeline-history.ts';

const ASK_MS = 2000;

/** Present timeline of a primary: of the WAL it writes, not of its last checkpoint, which lags. */
export const TIMELINE_OF_PRIMARY = `('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`;

/** Outside of recovery the function is an error (55000). */
export const REPLAY_PAUSED = 'CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END';

/** Timeline and ancestors of a node that answers as a primary. @throws ControlError */
export async function inspectPrimary(nodes: ControlNodes, node: string): Promise<TimelineHistory> {
  const rows = await nodes.query<{ timeline: number }>(node, `SELECT ${TIMELINE_OF_PRIMARY} AS timeline`, [], ASK_MS);
  return readHistory(nodes, node, rows[0]?.timeline ?? 1);
}

/** Reads a history file: as a file where we may, else over the replication protocol. `known` is false when neither works. */
export async function readHistory(nodes: ControlNodes, node: string, timeline: number): Promise<TimelineHistory> {
  if (timeline === 1) return { timeline, steps: [], known: true };
  const name = historyFileName(timeline);
  try {
    const rows = await nodes.query<{ text: string }>(
      node,
      'SELECT pg_read_file($1) AS text',
      [`pg_wal/${name}`],
      ASK_MS,
    );
    return parseTimelineHistory(timeline, rows[0]?.text ?? '');
  } catch {
    // pg_read_file needs more than a replication role has
  }
  try {
    return parseTimelineHistory(timeline, await historyByReplication(nodes.target(node), timeline));
  } catch {
    return { timeline, steps: [], known: false };
  }
}

/** TIMELINE_HISTORY answers one row of file name and content. https://www.postgresql.org/docs/current/protocol-replication.html */
async function historyByReplication(target: ControlTarget, timeline: number): Promise<string> {
  const client = new pg.Client({
    ...controlLogin(target, 'fairlead-control'),
    connectionTimeoutMillis: ASK_MS,
    query_timeout: ASK_MS,
    ...{ replication: 'database' },
    // the content is raw text in a column described as bytea
    types: { getTypeParser: () => (value: string) => value },
  });
  client.on('error', () => {});
  await client.connect();
  try {
    const result = await client.query<{ content: string }>(`TIMELINE_HISTORY ${timeline}`);
    return result.rows[0]?.content ?? '';
  } finally {
    await client.end();
  }
}
