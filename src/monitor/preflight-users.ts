import { ControlConnection, controlTarget } from '../backend/control-connection.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';
import { type Finding, fine, problem, warning } from './finding.ts';

const READABLE_SQL = `SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')
  OR has_table_privilege('pg_catalog.pg_shadow', 'SELECT') AS readable`;

/** Whether clients' passwords can be found as `auth` says. Asks one node: roles are the same on all. */
export async function judgeUsers(config: Config, node: NodeConfig | undefined): Promise<Finding[]> {
  const { query } = config.auth;
  if (node === undefined || query === 'off') return [];
  const connection = new ControlConnection(controlTarget(config, node), 'fairlead-check');
  try {
    return query === 'auto' ? await judgeCatalog(connection, config) : await judgeQuery(connection, query);
  } finally {
    connection.close();
  }
}

async function judgeCatalog(connection: ControlConnection, { auth, cluster }: Config): Promise<Finding[]> {
  const [row] = await connection.query<{ readable: boolean }>(READABLE_SQL).catch(() => []);
  if (row === undefined) return [];
  if (row.readable) return [fine(null, 'users log in with the passwords that the servers know')];
  const role = `"${cluster.user.replaceAll('"', '""')}"`;
  const fix = `GRANT SELECT ON pg_catalog.pg_authid TO ${role}; or set auth.query to a function that may read it`;
  const listed = Object.keys(auth.users).length > 0 || auth.users_file !== null || auth.type === 'trust';
  const text = 'auth.query: the role may not read passwords';
  return [
    listed
      ? warning(null, `${text}: only listed users can log in`, `${fix}; or auth.query: off`)
      : problem(null, `${text}, and no users are listed`, fix),
  ];
}

/** Any name will do for finding out whether it runs. */
async function judgeQuery(connection: ControlConnection, query: string): Promise<Finding[]> {
  try {
    await connection.query(query, [connection.target.user]);
    return [fine(null, 'auth.query runs')];
  } catch (error) {
    const fix = `let it run as role ${connection.target.user} in database ${connection.target.database}: GRANT EXECUTE, or SELECT, on what it uses`;
    return [problem(null, `auth.query: ${messageOf(error)}`, fix)];
  }
}
