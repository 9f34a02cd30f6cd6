import { formatConninfo, parseConninfo } from '../conninfo.ts';
import type { ControlNodes } from '../control-nodes.ts';
import { FENCE_NAME } from '../fence.ts';
import type { Upstreams } from '../upstreams.ts';

const STATEMENT_MS = 2000;

/**
 * What a replica needs so that commits can rely on it, and on those that follow it once it is promoted: its own name as
 * `application_name`, for that is what `synchronous_standby_names` goes by (without one it is `cluster_name` or `walreceiver`), and the
 * setting itself, which does nothing on a replica.
 * @param may asked right before each change: false once the replica's settings are somebody else's
 * @returns what was changed. @throws ControlError
 */
export async function prepareFollower(
  nodes: ControlNodes,
  upstreams: Upstreams,
  node: string,
  preset: string,
  may: () => boolean,
): Promise<string[]> {
  const changed: string[] = [];
  const upstream = await upstreams.read(nodes, node, STATEMENT_MS);
  const conninfo = upstream === null ? null : named(upstream.conninfo, node);
  if (conninfo !== null && may()) {
    await nodes.alterSystem(node, { primary_conninfo: conninfo }, STATEMENT_MS);
    await upstreams.read(nodes, node, STATEMENT_MS);
    changed.push(`application_name = ${node} in primary_conninfo`);
  }
  const sql = `SELECT current_setting('synchronous_standby_names') AS names, pg_is_in_recovery() AS recovery`;
  const [row] = await nodes.query<{ names: string; recovery: boolean }>(node, sql, [], STATEMENT_MS);
  if (row === undefined || !row.recovery || row.names === preset || row.names.includes(FENCE_NAME)) return changed;
  if (may()) {
    await nodes.alterSystem(node, { synchronous_standby_names: preset }, STATEMENT_MS);
    changed.push(`synchronous_standby_names = ${preset}`);
  }
  return changed;
}

/** The connection string with the node's name in it; null when it has it, or cannot be read. */
function named(conninfo: string, node: string): string | null {
  try {
    const info = new Map(parseConninfo(conninfo));
    if (info.get('application_name')?.toLowerCase() === node.toLowerCase()) return null;
    return formatConninfo(info.set('application_name', node));
  } catch {
    return null;
  }
}
