import { withMark } from '../cluster/mark.ts';
import { messageOf } from '../core/errors.ts';
import { formatLsn, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { freeze } from './freeze.ts';
import { REPLAY_PAUSED } from './inspect.ts';
import { RESUME, STREAMS } from './repoint.ts';
import type { Frozen } from './state.ts';
import { until } from './until.ts';
import type { Upstreams } from './upstreams.ts';

const STATEMENT_MS = 1500;

export type Forward = {
  readonly node: string;
  readonly source: string;
  /** What `node` has to have received. */
  readonly lsn: Lsn;
  readonly epoch: number;
  readonly limitMs: number;
};

const RECEIVED = `SELECT coalesce(pg_last_wal_receive_lsn(), '0/0')::text AS receive,
  coalesce(pg_last_wal_replay_lsn(), '0/0')::text AS replay, pg_is_in_recovery() AS recovery`;

/** One that is to stop somewhere (`recovery_target_…`) would end its recovery by itself. */
const PAUSED = `SELECT ${REPLAY_PAUSED} AS paused, EXISTS (SELECT FROM pg_settings WHERE setting <> ''
  AND name IN ('recovery_target', 'recovery_target_lsn', 'recovery_target_name', 'recovery_target_time', 'recovery_target_xid')) AS bounded`;

/**
 * A frozen replica fetches what another one has and it lacks, as that one's cascading standby, and stands still again. WAL that `source`
 * has received counts, replayed there or not. Never rejects.
 */
export async function forward(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { node, source, lsn, epoch, limitMs }: Forward,
  knownTimeline: number,
): Promise<{ readonly frozen: Frozen | null; readonly refused: string | null }> {
  let refused: string | null = null;
  try {
    await turnTo(nodes, upstreams, { node, source, epoch, timeline: knownTimeline });
    await resumeReplay(nodes, node);
    const has = await until(limitMs, async () => {
      const [row] = await nodes.query<{ receive: string; replay: string; recovery: boolean }>(
        node,
        RECEIVED,
        [],
        STATEMENT_MS,
      );
      if (row?.recovery !== true) throw new Error('it is not a replica any more');
      return maxLsn(parseLsn(row.receive), parseLsn(row.replay)) >= lsn ? true : null;
    });
    if (has === null) refused = await whyNot(nodes, node, { source, lsn, limitMs });
  } catch (error) {
    refused = messageOf(error);
  }
  try {
    const frozen = await freeze(nodes, upstreams, node, knownTimeline, epoch);
    const short = frozen.receiveLsn < lsn ? `it stands at ${formatLsn(frozen.receiveLsn)} only` : null;
    return { frozen, refused: refused ?? short };
  } catch (error) {
    return { frozen: null, refused: refused ?? messageOf(error) };
  }
}

/** While replay is paused no receiver starts, and the promotion would end the pause as well. Without the privilege it is left paused. */
async function resumeReplay(nodes: ControlNodes, node: string): Promise<void> {
  const [row] = await nodes.query<{ paused: boolean; bounded: boolean }>(node, PAUSED, [], STATEMENT_MS);
  if (row?.paused === true && !row.bounded)
    await nodes.query(node, 'SELECT pg_wal_replay_resume()', [], STATEMENT_MS).catch(() => []);
}

/** Its own slot is on the primary, and not on `source`. @throws ControlError */
async function turnTo(
  nodes: ControlNodes,
  upstreams: Upstreams,
  { node, source, epoch, timeline }: Pick<Forward, 'node' | 'source' | 'epoch'> & { readonly timeline: number },
): Promise<void> {
  const { host, port } = nodes.target(source);
  const { conninfo, slotName } = await upstreams.turned(nodes, node, STATEMENT_MS);
  const own = conninfo === '' ? upstreams.towards(node, nodes.target(source), nodes.target(node)) : conninfo;
  const marked = withMark(own, { kind: 'forward', epoch, timeline, detail: slotName }, { host, port });
  await nodes.alterSystem(node, { primary_conninfo: marked, primary_slot_name: '' }, STATEMENT_MS);
}

async function whyNot(
  nodes: ControlNodes,
  node: string,
  { source, lsn, limitMs }: Pick<Forward, 'source' | 'lsn' | 'limitMs'>,
): Promise<string> {
  const [row] = await nodes.query<{ status: string }>(node, STREAMS, [], STATEMENT_MS).catch(() => []);
  const [replay] = await nodes.query<{ paused: boolean }>(node, PAUSED, [], STATEMENT_MS).catch(() => []);
  const wanted = `${formatLsn(lsn)} of ${source} within ${limitMs} ms`;
  if (row?.status === 'streaming') return `it did not receive ${wanted}`;
  return replay?.paused === true
    ? `it could not stream ${wanted}: its replay is paused, ${RESUME}`
    : `it could not stream ${wanted}: it does not get a replication connection there, its log tells why`;
}
