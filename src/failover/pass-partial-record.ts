import { bytesBetween, type Lsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { until } from './until.ts';

const STATEMENT_MS = 3000;
const WRITE_MS = 10_000;
/** Written in pieces of this size. */
const PIECE_BYTES = 1024 * 1024;

const STANDS = `SELECT pg_current_wal_flush_lsn()::text AS flushed,
  (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size') AS segment`;
/** Everybody may; without a transaction id it waits for no follower, and the WAL writer flushes it. */
const WRITE = `SELECT pg_logical_emit_message(false, 'fairlead', repeat(' ', $1::int)) FROM generate_series(1, $2::int)`;

/**
 * A replica may have received the beginning of a record, up to the end of a segment, whose rest the old primary never wrote: when its disk
 * was full, for example. It asks the new primary for the next segment, which is refused until that one has come so far ("requested
 * starting point … is ahead of the WAL flush position of this server"). Where commits wait for that very replica it would
 * never get there: so it is brought there. PostgreSQL then ends the replica with PANIC ("could not open file" of the new timeline: it looks for
 * the segment in which the record began, 18.4 too), and when it is started again it follows.
 * @returns whether something was written. @throws ControlError
 */
export async function passPartialRecord(nodes: ControlNodes, primary: string, receivedLsn: Lsn): Promise<boolean> {
  const stands = async () => {
    const [row] = await nodes.query<{ flushed: string; segment: string }>(primary, STANDS, [], STATEMENT_MS);
    return { flushedLsn: parseLsn(row?.flushed ?? '0/0'), segment: BigInt(row?.segment ?? 1) };
  };
  const { flushedLsn, segment } = await stands();
  // one that stops within a segment finds no valid page there, and starts again with the record
  if (receivedLsn % segment !== 0n || flushedLsn > receivedLsn) return false;
  const missing = bytesBetween(flushedLsn, receivedLsn);
  const pieces = Math.max(1, Math.ceil(missing / PIECE_BYTES));
  // and a page more, so that there is something to stream
  const size = Math.ceil(missing / pieces) + 8192;
  await nodes.query(primary, WRITE, [size, pieces], WRITE_MS);
  await until(STATEMENT_MS, async () => ((await stands()).flushedLsn > receivedLsn ? true : null));
  return true;
}
