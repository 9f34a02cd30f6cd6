import { type Lsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';

const STATEMENT_MS = 1000;

export type NextXid = {
  /** No transaction with this id or a later one has ended as far as the replica had replayed. */
  readonly xid: bigint;
  /** It had replayed this before it was asked for the id. A replica that has just been started may have more in its files. */
  readonly replayLsn: Lsn;
};

/** @returns null: it does not say */
export async function nextXidOf(nodes: ControlNodes, node: string): Promise<NextXid | null> {
  try {
    const [at] = await nodes.query<{ lsn: string | null }>(
      node,
      'SELECT pg_last_wal_replay_lsn()::text AS lsn',
      [],
      STATEMENT_MS,
    );
    const [next] = await nodes.query<{ xid: string }>(
      node,
      'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid',
      [],
      STATEMENT_MS,
    );
    if (at === undefined || at.lsn === null || next === undefined) return null;
    return { xid: BigInt(next.xid), replayLsn: parseLsn(at.lsn) };
  } catch {
    // nothing depends on it but what clients are told of a COMMIT
    return null;
  }
}
