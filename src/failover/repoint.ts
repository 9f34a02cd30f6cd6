import { formatLsn, LSN_ZERO, type Lsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { REPLAY_PAUSED } from './inspect.ts';
import { passPartialRecord } from './pass-partial-record.ts';
import { until } from './until.ts';
import type { Upstreams } from './upstreams.ts';

const STATEMENT_MS = 3000;
const STREAM_MS = 15_000;

/** A replica has replayed WAL that the new timeline does not contain: it can never follow. */
export class DivergedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DivergedError';
  }
}

export type NewPrimary = {
  readonly name: string;
  readonly timeline: number;
  /** Where the new timeline left the one that the replica shows; null when it is not known. */
  readonly forkLsn: Lsn | null;
  /** The same of the latest one that it may be on: what a replica shows without a receiver lags behind. */
  readonly lastForkLsn: Lsn | null;
};

const HAS = `SELECT pg_is_in_recovery() AS recovery, coalesce(pg_last_wal_replay_lsn(), '0/0')::text AS replay,
  coalesce(pg_last_wal_receive_lsn(), '0/0')::text AS receive, current_setting('recovery_target_timeline') AS target,
  ${REPLAY_PAUSED} AS paused`;

const HALF =
  'it held half a record of the old primary: PostgreSQL may end it for that, once (PANIC: could not open file); started again it follows';

/** While replay is paused PostgreSQL starts no WAL receiver. */
export const RESUME = 'and it starts to stream only after SELECT pg_wal_replay_resume()';

type Has = { recovery: boolean; replay: string; receive: string; target: string; paused: boolean };

export const STREAMS = `SELECT status, received_tli AS timeline, sender_port AS port FROM pg_stat_wal_receiver WHERE pid IS NOT NULL`;

/**
 * Turns a replica to the primary: a physical slot there, then `primary_conninfo` and `primary_slot_name` here, then proof that it
 * streams on the right timeline.
 * @param timeline the replica's own
 * @returns a warning, or null. @throws DivergedError | ControlError | Error
 */
export async function repoint(
  nodes: ControlNodes,
  upstreams: Upstreams,
  node: string,
  timeline: number,
  primary: NewPrimary,
): Promise<string | null> {
  const [has] = await nodes.query<Has>(node, HAS, [], STATEMENT_MS);
  if (has === undefined || !has.recovery) throw new Error('it is not a replica');
  const replayLsn = parseLsn(has.replay);
  const beyond = (forkLsn: Lsn | null) => timeline < primary.timeline && forkLsn !== null && replayLsn > forkLsn;
  const diverged = () =>
    new DivergedError(
      `it has replayed timeline ${timeline} to ${formatLsn(replayLsn)}, but timeline ${primary.timeline} left it at ${formatLsn(primary.forkLsn ?? replayLsn)}: pg_rewind or a new base backup`,
    );
  if (beyond(primary.lastForkLsn)) throw diverged();
  const current = await upstreams.read(nodes, node, STATEMENT_MS);
  const slot = slotNameFor(node, (current ?? upstreams.of(node))?.slotName);
  const noSlot = await ensureSlot(nodes, primary.name, slot);
  const target = nodes.target(primary.name);
  const conninfo = upstreams.towards(node, target, nodes.target(node));
  await nodes.alterSystem(
    node,
    { primary_slot_name: noSlot === null ? slot : '', primary_conninfo: conninfo },
    STATEMENT_MS,
  );
  let half = false;
  let passed = primary.forkLsn === null || timeline >= primary.timeline;
  const streams = await until(STREAM_MS, async () => {
    if (!passed) {
      // before it has replayed all that is common to both timelines, what it received says nothing
      const [now] = await nodes.query<Has>(node, HAS, [], STATEMENT_MS);
      passed = now !== undefined && parseLsn(now.replay) >= (primary.forkLsn ?? LSN_ZERO);
      if (passed && now !== undefined) half = await passPartialRecord(nodes, primary.name, parseLsn(now.receive));
    }
    const [row] = await nodes.query<{ status: string; timeline: number; port: number }>(
      node,
      STREAMS,
      [],
      STATEMENT_MS,
    );
    return row?.status === 'streaming' && row.timeline === primary.timeline && row.port === target.port ? true : null;
  });
  if (streams === null && beyond(primary.forkLsn)) throw diverged();
  if (half) return HALF;
  if (streams === null) {
    const [now] = await nodes.query<Has>(node, HAS, [], STATEMENT_MS);
    const why = now?.paused === true ? `its replay is paused, ${RESUME}` : 'its log tells why';
    throw new Error(`it does not stream from ${primary.name} within ${STREAM_MS} ms; ${why}`);
  }
  await upstreams.read(nodes, node, STATEMENT_MS);
  if (noSlot !== null) return `without a slot: ${noSlot}`;
  return has.target === 'latest'
    ? null
    : `recovery_target_timeline is ${has.target}: it will not follow the next promotion`;
}

/** Slot names allow lower case letters, digits and underscores, 63 of them. */
export function slotNameFor(node: string, previous: string | undefined): string {
  if (previous !== undefined && previous !== '') return previous;
  return `fairlead_${node.toLowerCase().replace(/[^a-z0-9_]/g, '_')}`.slice(0, 63);
}

/** Makes the slot, anew where it has lost its WAL. @returns null when it is there, else why not. */
export async function ensureSlot(nodes: ControlNodes, primary: string, slot: string): Promise<string | null> {
  try {
    const rows = await nodes.query<{ status: string | null; active: boolean }>(
      primary,
      'SELECT wal_status AS status, active FROM pg_replication_slots WHERE slot_name = $1',
      [slot],
      STATEMENT_MS,
    );
    if (rows[0]?.status === 'lost' && !rows[0].active) {
      await nodes.query(primary, 'SELECT pg_drop_replication_slot($1)', [slot], STATEMENT_MS);
    } else if (rows.length > 0) return null;
    await nodes.query(
      primary,
      `SELECT pg_create_physical_replication_slot($1, true)
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`,
      [slot],
      STATEMENT_MS,
    );
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * Drops physical slots on the new primary that nobody will use: of itself and of the former primary. An unused slot keeps WAL
 * until the disk is full.
 */
export async function dropStaleSlots(nodes: ControlNodes, primary: string, slots: readonly string[]): Promise<void> {
  await nodes.query(
    primary,
    `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
      WHERE slot_type = 'physical' AND NOT active AND slot_name = ANY ($1)`,
    [slots],
    STATEMENT_MS,
  );
}
