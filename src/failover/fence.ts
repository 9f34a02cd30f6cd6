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

/** What a fence would cover. @throws ControlError */
export async function coverOf(nodes: ControlNodes, node: string): Promise<Covered> {
  const before = await nodes.query<{ name: string; setting: string }>(node, COVERED, [], STATEMENT_MS);
  return Object.fromEntries(before.map((row) => [row.name, row.setting]));
}

/**
 * Stops a reachable primary from taking writes, as far as SQL reaches: new transactions are read-only unless the client insists, client
 * sessions end, and no synchronous commit is acknowledged any more. Read-only and termination come first: ending a session
 * that waits for a synchronous standby would commit its transaction locally.
 * @returns what to put back later. @throws ControlError, or Error when the settings did not take.
 */
export async function quell(nodes: ControlNodes, node: string, epoch: number): Promise<Covered> {
  const covered = await coverOf(nodes, node);
  await nodes.alterSystem(node, READ_ONLY, STATEMENT_MS);
  await endClients(nodes, node, await confirm(nodes, node, IS_READ_ONLY));
  await nodes.alterSystem(node, unacknowledged(epoch), STATEMENT_MS);
  await confirm(nodes, node, IS_FENCED);
  return covered;
}

/**
 * The same for one that hands over, in fewer steps, because clients wait: its transactions have ended, and the target will have whatever a
 * session that is ended while it waits for a synchronous standby commits.
 * @throws ControlError, or Error when the settings did not take.
 */
export async function quellAtOnce(nodes: ControlNodes, node: string, epoch: number): Promise<void> {
  await nodes.alterSystem(node, { ...READ_ONLY, ...unacknowledged(epoch) }, STATEMENT_MS);
  await endClients(nodes, node, await confirm(nodes, node, `${IS_READ_ONLY} AND ${IS_FENCED}`));
}

const READ_ONLY = { default_transaction_read_only: 'on' };
const IS_READ_ONLY = `current_setting('default_transaction_read_only') = 'on'`;
const IS_FENCED = `current_setting('synchronous_standby_names') LIKE '%${FENCE_NAME}%'`;

function unacknowledged(epoch: number) {
  return { synchronous_standby_names: `${FENCE_NAME}${epoch}` };
}

/** @param sinceText whoever connected before this instant of the server may not have seen the settings */
async function endClients(nodes: ControlNodes, node: string, sinceText: string): Promise<void> {
  const ended = await until(CHECK_MS, async () => {
    const [row] = await nodes.query<{ left: number }>(node, END_CLIENTS, [sinceText], STATEMENT_MS);
    return row?.left === 0 ? true : null;
  });
  if (ended === null) throw new Error('client sessions do not end');
}

/** Those that come later are ended as well, and not waited for. */
const END_CLIENTS = `SELECT count(*) FILTER (WHERE ended.since <= $1::timestamptz)::int AS left
  FROM (SELECT pg_terminate_backend(a.pid), a.backend_start AS since FROM ${CLIENTS} OFFSET 0) AS ended`;

/**
 * Takes the fence off, by name: settings that are not ours stay.
 * @returns false when there was none. @throws ControlError
 */
export async function lift(nodes: ControlNodes, node: string, covered: Covered | undefined): Promise<boolean> {
  const rows = await nodes.query<{ fenced: boolean }>(node, FENCED, [], STATEMENT_MS);
  if (rows[0]?.fenced !== true) return false;
  await putBack(nodes, node, covered);
  return true;
}

/** Settings as they were before a fence, whether or not it is seen to be up. @throws ControlError, or Error */
export async function putBack(nodes: ControlNodes, node: string, covered: Covered | undefined): Promise<void> {
  await nodes.alterSystem(
    node,
    {
      default_transaction_read_only: covered?.default_transaction_read_only ?? null,
      synchronous_standby_names: covered?.synchronous_standby_names ?? null,
    },
    STATEMENT_MS,
  );
  await confirm(nodes, node, `NOT ${IS_FENCED}`);
}

/** The name shows that the fence is ours; without it a read-only default is somebody else's wish. */
const FENCED = `SELECT ${IS_FENCED} AS fenced`;

/** A reload reaches each backend when it next reads a command: asked until our own session has it. @returns when, by the server's clock */
async function confirm(nodes: ControlNodes, node: string, condition: string): Promise<string> {
  const took = await until(CHECK_MS, async () => {
    const question = `SELECT ${condition} AS took, clock_timestamp()::text AS at`;
    const [row] = await nodes.query<{ took: boolean; at: string }>(node, question, [], STATEMENT_MS);
    return row?.took === true ? row.at : null;
  });
  if (took === null) throw new Error(`a setting did not take: ${condition}`);
  return took;
}
