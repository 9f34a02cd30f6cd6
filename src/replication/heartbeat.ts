import type { ControlConnection } from '../backend/control-connection.ts';
import { TINY_COMMIT_SQL } from '../monitor/tiny-commit.ts';

/** At most this often … */
const BUSY_MS = 1000;
/** … and, so that replicas of an idle primary hear of it now and then, at least this often. */
const IDLE_MS = 10_000;

export type HeartbeatView = {
  readonly sinceLastMs: number;
  /** The primary's WAL stands beyond the newest commit that we know of. */
  readonly moved: boolean;
  /** Somebody waits for a replica. */
  readonly waiting: boolean;
};

/** Pure: an idle cluster is left alone but for one beat in ten seconds. */
export function heartbeatDue(view: HeartbeatView): boolean {
  if (view.sinceLastMs >= IDLE_MS) return true;
  return view.sinceLastMs >= BUSY_MS && (view.moved || view.waiting);
}

/**
 * A commit like any other: it pushes out WAL that nobody flushed, and bounds what happened before it in databases that the stream does not
 * see. @throws ControlError
 */
export async function beat(connection: ControlConnection): Promise<void> {
  await connection.query(TINY_COMMIT_SQL);
}
