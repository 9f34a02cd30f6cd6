import { type Lsn, parseLsn } from '../../core/lsn.ts';
import type { ControlNodes } from '../control-nodes.ts';

const STATEMENT_MS = 2000;

/** One row of `pg_stat_replication`, as far as synchronous replication goes. */
export type Walsender = {
  readonly name: string;
  readonly state: string;
  readonly flushLsn: Lsn | null;
  /** What the walsender itself made of `synchronous_standby_names` when it last read it; 0: its standby does not count. */
  readonly priority: number;
  /** Differs whenever the standby has said something. */
  readonly sign: string;
};

export type PrimaryFacts = {
  readonly recovery: boolean;
  /** `synchronous_standby_names` as our own session has it. */
  readonly names: string;
  readonly flushLsn: Lsn;
  readonly walsenders: readonly Walsender[];
};

type Row = {
  readonly recovery: boolean;
  readonly names: string;
  readonly flush: string;
  readonly walsenders: readonly {
    readonly name: string;
    readonly state: string | null;
    readonly flush: string | null;
    readonly priority: number | null;
    readonly sign: string;
  }[];
};

const READ = `SELECT pg_is_in_recovery() AS recovery, current_setting('synchronous_standby_names') AS names,
  CASE WHEN pg_is_in_recovery() THEN '0/0' ELSE pg_current_wal_flush_lsn()::text END AS flush,
  coalesce((SELECT json_agg(json_build_object('name', application_name, 'state', state, 'flush', flush_lsn::text,
    'priority', sync_priority, 'sign', concat_ws(' ', pid, write_lsn, flush_lsn, reply_time))) FROM pg_stat_replication), '[]') AS walsenders`;

/** @throws ControlError */
export async function readPrimary(nodes: ControlNodes, node: string): Promise<PrimaryFacts> {
  const [row] = await nodes.query<Row>(node, READ, [], STATEMENT_MS);
  if (row === undefined) throw new Error('no answer');
  return {
    recovery: row.recovery,
    names: row.names,
    flushLsn: parseLsn(row.flush),
    walsenders: row.walsenders.map(({ name, state, flush, priority, sign }) => ({
      ...{ name, sign, priority: priority ?? 0, state: state ?? 'hidden' },
      flushLsn: flush === null ? null : parseLsn(flush),
    })),
  };
}

/** Where the primary's own disk has the WAL up to: nothing was acknowledged beyond it. @throws ControlError */
export async function readFlushLsn(nodes: ControlNodes, node: string): Promise<Lsn> {
  const [row] = await nodes.query<{ lsn: string }>(node, 'SELECT pg_current_wal_flush_lsn()::text AS lsn', [], 2000);
  return parseLsn(row?.lsn ?? '0/0');
}
