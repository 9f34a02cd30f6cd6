import { FairleadError, messageOf } from '../core/errors.ts';
import { type Lsn, parseLsn } from '../core/lsn.ts';
import { adopt, type Writable } from '../failover/adopt.ts';
import type { ControlNodes } from '../failover/control-nodes.ts';
import { inspectPrimary } from '../failover/inspect.ts';

const ASK_MS = 5000;

type Row = { recovery: boolean; lsn: string | null; received: number | null };

/** By the rules of the failover controller, without one: the primary on the newest timeline. @throws FairleadError no_primary */
export async function findPrimary(nodes: ControlNodes, names: readonly string[]): Promise<string> {
  const writable: Writable[] = [];
  const silent: string[] = [];
  let replicaTimeline = 0;
  await Promise.all(
    names.map(async (name) => {
      try {
        const [row] = await nodes.query<Row>(
          name,
          `SELECT pg_is_in_recovery() AS recovery, (SELECT received_tli FROM pg_stat_wal_receiver) AS received,
            CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn()::text END AS lsn`,
          [],
          ASK_MS,
        );
        if (row?.recovery !== false) {
          replicaTimeline = Math.max(replicaTimeline, row?.received ?? 0);
          return;
        }
        const history = await inspectPrimary(nodes, name);
        writable.push({ name, timeline: history.timeline, flushLsn: flushLsn(row), history });
      } catch (error) {
        silent.push(`${name}: ${messageOf(error)}`);
      }
    }),
  );
  const found = adopt(writable, replicaTimeline);
  if (found.primary !== null) return found.primary.name;
  const why = silent.length === 0 ? '' : ` (${silent.join('; ')})`;
  throw new FairleadError('no_primary', `${found.reason}${why}`, 'there has to be a primary to follow');
}

function flushLsn(row: Row): Lsn {
  return parseLsn(row.lsn ?? '0/0');
}
