import type { ControlNodes } from './control-nodes.ts';

/** No transaction with this id or a later one has ended as far as the replica has replayed; null: it does not say. Whoever asks knows that it stands still. */
export async function nextXidOf(nodes: ControlNodes, node: string): Promise<bigint | null> {
  try {
    const rows = await nodes.query<{ xid: string }>(
      node,
      'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid',
      [],
      1000,
    );
    return rows[0] === undefined ? null : BigInt(rows[0].xid);
  } catch {
    // nothing depends on it but what clients are told of a COMMIT
    return null;
  }
}
