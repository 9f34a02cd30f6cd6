import type { ControlNodes } from './control-nodes.ts';
import { until } from './until.ts';

const STATEMENT_MS = 3000;
const CHECK_MS = 3000;

/** Sessions of clients that we may end: no walsenders, none of our own, and superusers' only when we are one. */
export const CLIENTS = `pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
  WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() 
    AND (a.application_name NOT LIKE 'fairlead-%' OR a.usename <> current_user)
    AND (NOT coalesce(r.rolsuper, true) OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))`;

export const FENCE_NAME = 'fairlead_fence_';

/** Settings that the fence covered, to be put back when it is lifted; null: was not set by ALTER SYSTEM. */
export type Covered = Readonly<Record<string, string | null>>;

const COVERED = `SELECT name, setting FROM pg_settings
  WHERE name IN ('default_transaction_read_only', 'synchronous_standby_names') AND sourcefile LIKE '%postgresql.auto.conf'
    AND setting NOT LIKE '${FENCE_NAME}%' AND setting NOT LIKE '%(${FENCE_NAME}%'`;

/**
 * Stops a reachable primary from taking writes, as far as SQL reaches: new transactions are read-only unless the client insists, client
 * sessions end, and no synchronous commit is acknowledged any more. Read-only and termination come first: ending a session
 * that waits for a synchronous standby would commit its transaction locally.
 * @returns what to put back later. @throws ControlError, or Error when the settings did not take.
 */
export async function quell(nodes: ControlNodes, node: string, epoch: number): Promise<Covered> {
  const before = await nodes.query<{ name: string; setting: string }>(node, COVERED, [], STATEMENT_MS);
  const covered = Object.fromEntries(before.map((row) => [row.name, row.setting]));
  await nodes.alterSystem(node, { default_transaction_read_only: 'on' }, STATEMENT_MS);
  await confirm(nodes, node, `current_setting('default_transaction_read_only') = 'on'`);
  // whoever connected before this instant may not have seen the setting
  const [took] = await nodes.query<{ at: string }>(node, 'SELECT clock_timestamp()::text AS at', [], STATEMENT_MS);
  const ended = await until(CHECK_MS, async () => {
    await nodes.query(node, `SELECT pg_terminate_backend(a.pid) FROM ${CLIENTS}`, [], STATEMENT_MS);
    const rows = await nodes.query<{ left: number }>(
      node,
      `SELECT count(*)::int AS left FROM ${CLIENTS} AND a.backend_start <= $1::timestamptz`,
      [took?.at],
      STATEMENT_MS,
    );
    return rows[0]?.left === 0 ? true : null;
  });
  if (ended === null) throw new Error('client sessions do not end');
  await nodes.alterSystem(node, { synchronous_standby_names: `${FENCE_NAME}${epoch}` }, STATEMENT_MS);
  await confirm(nodes, node, `current_setting('synchronous_standby_names') LIKE '%${FENCE_NAME}%'`);
  return covered;
}

/**
 * Takes the fence off, by name: settings that are not ours stay.
 * @returns false when there was none. @throws ControlError
 */
export async function lift(nodes: ControlNodes, node: string, covered: Covered | undefined): Promise<boolean> {
  const rows = await nodes.query<{ fenced: boolean }>(node, FENCED, [], STATEMENT_MS);
  if (rows[0]?.fenced !== true) return false;
  await nodes.alterSystem(
    node,
    {
      default_transaction_read_only: covered?.default_transaction_read_only ?? null,
      synchronous_standby_names: covered?.synchronous_standby_names ?? null,
    },
    STATEMENT_MS,
  );
  await confirm(nodes, node, `current_setting('synchronous_standby_names') NOT LIKE '%${FENCE_NAME}%'`);
  return true;
}

/** The name shows that the fence is ours; without it a read-only default is somebody else's wish. */
const FENCED = `SELECT current_setting('synchronous_standby_names') LIKE '%${FENCE_NAME}%' AS fenced`;

/** A reload reaches each backend when it next reads a command: asked until our own session has it. */
async function confirm(nodes: ControlNodes, node: string, condition: string): Promise<void> {
  const took = await until(CHECK_MS, async () => {
    const rows = await nodes.query<{ took: boolean }>(node, `SELECT ${condition} AS took`, [], STATEMENT_MS);
    return rows[0]?.took === true ? true : null;
  });
  if (took === null) throw new Error(`a setting did not take: ${condition}`);
}
