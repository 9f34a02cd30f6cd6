import type { ControlNodes } from '../control-nodes.ts';

const STATEMENT_MS = 2000;

const END = `SELECT application_name AS name, pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE backend_type = 'walsender' AND wait_event = 'ClientWrite' AND lower(application_name) = ANY ($1::text[])`;

/**
 * Ends the walsenders of these standbys that wait for room to write. PostgreSQL 13 sends every ParameterStatus again when it has read its
 * files again, and waits until the standby takes it: one whose standby stands still, with a full socket, never gets to the new setting.
 * The later versions have none that wait like this. A standby that comes to life again connects anew. @returns whose were ended
 * @throws ControlError
 */
export async function unblock(nodes: ControlNodes, primary: string, standbys: readonly string[]): Promise<string[]> {
  const names = standbys.map((name) => name.toLowerCase());
  const ended = await nodes.query<{ name: string }>(primary, END, [names], STATEMENT_MS);
  return ended.map(({ name }) => name);
}
