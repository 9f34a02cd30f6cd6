import { ControlConnection } from '../../backend/control-connection.ts';
import type { ControlNodes } from '../control-nodes.ts';
import { until } from '../until.ts';

const STATEMENT_MS = 2000;
const ARM_MS = 10_000;

/** A commit that waits for standbys like a client's. */
const PROBE = `SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'fairlead', 'armed')`;
const WAITS = `SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'`;

/**
 * After an empty `synchronous_standby_names` commits begin to wait only when the checkpointer has raised a flag in shared memory
 * (SyncRepUpdateSyncStandbysDefined), and in the middle of a checkpoint it may take its time. Under a setting that nobody can satisfy a
 * commit of ours that is seen waiting proves the flag; it is let go by the setting that follows.
 * @param close sets what nobody can satisfy
 * @returns false when commits still do not wait. @throws ControlError | Error
 */
export async function arm(
  nodes: ControlNodes,
  node: string,
  close: () => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const connection = new ControlConnection(nodes.target(node), 'fairlead-sync');
  try {
    // before anything is closed: commits shall not wait for a login
    const [own] = await connection.query<{ pid: number }>('SELECT pg_backend_pid() AS pid', [], STATEMENT_MS);
    await close();
    const armed = await until(ARM_MS, () => waits(nodes, connection, node, own?.pid ?? 0, signal), signal);
    return armed === true;
  } finally {
    // its last commit is on the primary, like every one that waits
    connection.close();
  }
}

/** Commits once. @returns true when that was seen waiting, null when it did not have to. */
async function waits(
  nodes: ControlNodes,
  connection: ControlConnection,
  node: string,
  pid: number,
  signal: AbortSignal,
): Promise<true | null> {
  let over = false;
  const end = () => {
    over = true;
  };
  connection.query(PROBE, [], ARM_MS).then(end, end);
  const seen = await until(
    ARM_MS,
    async () => {
      if ((await nodes.query(node, WAITS, [pid], STATEMENT_MS)).length > 0) return 'waits';
      return over ? 'over' : null;
    },
    signal,
  );
  return seen === 'waits' ? true : null;
}
