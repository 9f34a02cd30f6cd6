import { FENCE_NAME, splitMark, withMark } from '../cluster/mark.ts';
import type { ControlNodes } from './control-nodes.ts';
import { until } from './until.ts';

export { FENCE_NAME };

const STATEMENT_MS = 3000;
const CHECK_MS = 3000;
/** Sessions that do not end within this end behind the fence, or the hand-over is given up. */
const DISMISS_MS = 1000;

/** Sessions of clients that we may end: no walsenders, none of our own, and superusers' only when we are one. */
export const CLIENTS = `pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
  WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() 
    AND (a.application_name NOT LIKE 'fairlead-%' OR a.usename <> current_user)
    AND (NOT coalesce(r.rolsuper, true) OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))`;

/** Behind the fence's own name: what it covers, so that whoever lifts it can put that back. */
const COVERS_NAME = 'fairlead_covers_';

/** Settings that the fence covered, to be put back when it is lifted; null: was not set by ALTER SYSTEM. */
export type Covered = Readonly<Record<string, string | null>>;

const COVERED = `SELECT name, setting FROM pg_settings
  WHERE name IN ('default_transaction_read_only', 'synchronous_standby_names') AND sourcefile LIKE '%postgresql.auto.conf'`;

/** The name shows that the fence is ours; without it, and without the mark of one that is not complete, a read-only default is somebody else's wish. */
const FENCE = `SELECT current_setting('synchronous_standby_names') AS names,
  (SELECT setting FROM pg_settings WHERE name = 'primary_conninfo') AS conninfo`;

type Found = {
  /** `synchronous_standby_names` holds every commit back. */
  readonly complete: boolean;
  /** `primary_conninfo` says that a fence is being put up. */
  readonly begun: boolean;
  readonly covered: Covered;
  /** `primary_conninfo` without a mark; null: our role may not read it. */
  readonly conninfo: string | null;
};

/** What a fence would cover. @throws ControlError */
export async function coverOf(nodes: ControlNodes, node: string): Promise<Covered> {
  return coveredNow(nodes, node, await look(nodes, node));
}

/** A fence that is there tells what it covers; else a new one covers what is set. */
async function coveredNow(nodes: ControlNodes, node: string, found: Found): Promise<Covered> {
  return found.complete || found.begun ? found.covered : settingsOf(nodes, node);
}

/**
 * Stops a reachable primary from taking writes, as far as SQL reaches: new transactions are read-only unless the client insists, client
 * sessions end, and no synchronous commit is acknowledged any more. Read-only and termination come first: ending a session
 * that waits for a synchronous standby would commit its transaction locally. At every instant the settings tell that the fence is ours,
 * and what it covers.
 * @returns what to put back later. @throws ControlError, or Error when the settings did not take.
 */
export async function quell(nodes: ControlNodes, node: string, epoch: number): Promise<Covered> {
  const found = await look(nodes, node);
  const covered = await coveredNow(nodes, node, found);
  const { conninfo } = found;
  if (!found.complete && conninfo !== null) {
    const marked = withMark(conninfo, { kind: 'fence', epoch, timeline: 0, detail: detailOf(covered) });
    await nodes.alterSystem(node, { primary_conninfo: marked }, STATEMENT_MS);
  }
  await nodes.alterSystem(node, READ_ONLY, STATEMENT_MS);
  await endClients(nodes, node, await confirm(nodes, node, IS_READ_ONLY));
  await nodes.alterSystem(node, unacknowledged(epoch, covered), STATEMENT_MS);
  await confirm(nodes, node, IS_FENCED);
  if (conninfo !== null && (!found.complete || found.begun))
    await nodes.alterSystem(node, { primary_conninfo: conninfo }, STATEMENT_MS);
  return covered;
}

/**
 * Ends the sessions of clients on one that is about to hand over. A session that has a temporary table drops it at its end, and that is a
 * commit: behind the fence it would wait for a follower that does not exist, and could not be ended any more.
 * @throws ControlError
 */
export async function dismiss(nodes: ControlNodes, node: string): Promise<void> {
  await clientsEnd(nodes, node, await confirm(nodes, node, 'true'), DISMISS_MS);
}

/**
 * As `quell`, for one that hands over, in fewer steps, because clients wait: its transactions have ended, and the target will have whatever a
 * session that is ended while it waits for a synchronous standby commits.
 * @param covered what `coverOf` gave
 * @throws ControlError, or Error when the settings did not take.
 */
export async function quellAtOnce(nodes: ControlNodes, node: string, epoch: number, covered: Covered): Promise<void> {
  // the name is in force first: whoever finds only a part of it can tell that it is ours, and nobody writes over it
  await nodes.alterSystem(node, unacknowledged(epoch, covered), STATEMENT_MS);
  await nodes.alterSystem(node, READ_ONLY, STATEMENT_MS);
  await endClients(nodes, node, await confirm(nodes, node, `${IS_READ_ONLY} AND ${IS_FENCED}`));
}

const READ_ONLY = { default_transaction_read_only: 'on' };
const IS_READ_ONLY = `current_setting('default_transaction_read_only') = 'on'`;
const IS_FENCED = `current_setting('synchronous_standby_names') LIKE '%${FENCE_NAME}%'`;

function unacknowledged(epoch: number, covered: Covered) {
  const detail = detailOf(covered);
  return { synchronous_standby_names: `${FENCE_NAME}${epoch}${detail === '' ? '' : `, "${COVERS_NAME}${detail}"`}` };
}

/** @param sinceText whoever connected before this instant of the server may not have seen the settings */
async function endClients(nodes: ControlNodes, node: string, sinceText: string): Promise<void> {
  if (!(await clientsEnd(nodes, node, sinceText, CHECK_MS))) throw new Error('client sessions do not end');
}

async function clientsEnd(nodes: ControlNodes, node: string, sinceText: string, limitMs: number): Promise<boolean> {
  const ended = await until(limitMs, async () => {
    const [row] = await nodes.query<{ left: number }>(node, END_CLIENTS, [sinceText], STATEMENT_MS);
    return row?.left === 0 ? true : null;
  });
  return ended === true;
}

/** Those that come later are ended as well, and not waited for. */
const END_CLIENTS = `SELECT count(*) FILTER (WHERE ended.since <= $1::timestamptz)::int AS left
  FROM (SELECT pg_terminate_backend(a.pid), a.backend_start AS since FROM ${CLIENTS} OFFSET 0) AS ended`;

/**
 * Takes the fence off, also one that was never complete: settings that are not ours stay.
 * @param covered what is known of it; the fence itself knows better
 * @returns false when there was none. @throws ControlError
 */
export async function lift(nodes: ControlNodes, node: string, covered: Covered | undefined): Promise<boolean> {
  const found = await look(nodes, node);
  if (!found.complete && !found.begun) return false;
  await putBack(nodes, node, { ...covered, ...found.covered });
  if (found.begun) await nodes.alterSystem(node, { primary_conninfo: found.conninfo }, STATEMENT_MS);
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

async function look(nodes: ControlNodes, node: string): Promise<Found> {
  const [row] = await nodes.query<{ names: string; conninfo: string | null }>(node, FENCE, [], STATEMENT_MS);
  const { names = '', conninfo = null } = row ?? {};
  const { original, mark } = splitMark(conninfo ?? '');
  const complete = names.includes(FENCE_NAME);
  const begun = mark?.kind === 'fence';
  const detail = begun ? mark.detail : (new RegExp(`${COVERS_NAME}([\\w-]+)`).exec(names)?.[1] ?? '');
  return {
    complete,
    begun,
    covered: detail === '' ? {} : decode(detail),
    conninfo: conninfo === null ? null : original,
  };
}

/** What ALTER SYSTEM set there before we did. */
async function settingsOf(nodes: ControlNodes, node: string): Promise<Covered> {
  const rows = await nodes.query<{ name: string; setting: string }>(node, COVERED, [], STATEMENT_MS);
  return Object.fromEntries(rows.map((row) => [row.name, row.setting]));
}

/** Text for a setting; empty when nothing is covered. */
function detailOf(covered: Covered): string {
  return Object.keys(covered).length === 0 ? '' : Buffer.from(JSON.stringify(covered)).toString('base64url');
}

function decode(text: string): Covered {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as Covered;
  } catch {
    // somebody shortened it
    return {};
  }
}

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
