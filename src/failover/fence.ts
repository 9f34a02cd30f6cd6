import { FENCE_NAME, splitMark, withMark } from '../cluster/mark.ts';
import type { ControlNodes } from './control-nodes.ts';
import { until } from './until.ts';

export { FENCE_NAME };

const STATEMENT_MS = 3000;
const CHECK_MS = 3000;

/** Sessions of clients that we may end: no walsenders, none of our own, and superusers' only when we are one. */
const CLIENTS = `pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
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

/**
 * Stops a reachable primary from taking writes, as far as SQL reaches: new transactions are read-only unless the client insists, client
 * sessions end, and no synchronous commit is acknowledged any more. Read-only and termination come first: ending a session
 * that waits for a synchronous standby would commit its transaction locally. At every instant the settings tell that the fence is ours,
 * and what it covers.
 * @returns what to put back later. @throws ControlError, or Error when the settings did not take.
 */
export async function quell(nodes: ControlNodes, node: string, epoch: number): Promise<Covered> {
  const found = await look(nodes, node);
  const covered = found.complete || found.begun ? found.covered : await settingsOf(nodes, node);
  const detail = Object.keys(covered).length === 0 ? '' : encode(covered);
  const { conninfo } = found;
  if (!found.complete && conninfo !== null) {
    const marked = withMark(conninfo, { kind: 'fence', epoch, timeline: 0, detail });
    await nodes.alterSystem(node, { primary_conninfo: marked }, STATEMENT_MS);
  }
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
  const names = `${FENCE_NAME}${epoch}${detail === '' ? '' : `, "${COVERS_NAME}${detail}"`}`;
  await nodes.alterSystem(node, { synchronous_standby_names: names }, STATEMENT_MS);
  await confirm(nodes, node, `current_setting('synchronous_standby_names') LIKE '%${FENCE_NAME}%'`);
  if (conninfo !== null && (!found.complete || found.begun))
    await nodes.alterSystem(node, { primary_conninfo: conninfo }, STATEMENT_MS);
  return covered;
}

/**
 * Takes the fence off, also one that was never complete: settings that are not ours stay.
 * @param covered what is known of it; the fence itself knows better
 * @returns false when there was none. @throws ControlError
 */
export async function lift(nodes: ControlNodes, node: string, covered: Covered | undefined): Promise<boolean> {
  const found = await look(nodes, node);
  if (!found.complete && !found.begun) return false;
  const before = { ...covered, ...found.covered };
  await nodes.alterSystem(
    node,
    {
      default_transaction_read_only: before.default_transaction_read_only ?? null,
      synchronous_standby_names: before.synchronous_standby_names ?? null,
    },
    STATEMENT_MS,
  );
  await confirm(nodes, node, `current_setting('synchronous_standby_names') NOT LIKE '%${FENCE_NAME}%'`);
  if (found.begun) await nodes.alterSystem(node, { primary_conninfo: found.conninfo }, STATEMENT_MS);
  return true;
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

function encode(covered: Covered): string {
  return Buffer.from(JSON.stringify(covered)).toString('base64url');
}

function decode(text: string): Covered {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as Covered;
  } catch {
    // somebody shortened it
    return {};
  }
}

/** A reload reaches each backend when it next reads a command: asked until our own session has it. */
async function confirm(nodes: ControlNodes, node: string, condition: string): Promise<void> {
  const took = await until(CHECK_MS, async () => {
    const rows = await nodes.query<{ took: boolean }>(node, `SELECT ${condition} AS took`, [], STATEMENT_MS);
    return rows[0]?.took === true ? true : null;
  });
  if (took === null) throw new Error(`a setting did not take: ${condition}`);
}
