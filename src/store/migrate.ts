import { type Migration, type MigrationProvider, Migrator } from 'kysely';
import pg from 'pg';
import * as fairleadSchema from '../../migrations/0001-fairlead-schema.ts';
import * as synchrony from '../../migrations/0002-synchrony.ts';
import * as recovered from '../../migrations/0003-recovered.ts';
import { type Config, membersOf, type NodeConfig, nodesOf } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { closeDatabase, loginOf, openDatabase } from './database.ts';
import { installDdlMarks } from './ddl-marks.ts';

/** In order; names are kept in the database and never change. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-fairlead-schema': fairleadSchema,
  '0002-synchrony': synchrony,
  '0003-recovered': recovered,
};

const PROVIDER: MigrationProvider = { getMigrations: async () => ({ ...MIGRATIONS }) };

/** Advisory lock of a migration under way: the letters "fairlead" as a number. */
const LOCK_KEY = '7377293604775354724';

/** How long to wait for another Fairlead that is migrating. */
const LOCK_TIMEOUT_MS = 30_000;

export type MigrationReport = {
  /** The node that was migrated. */
  readonly primary: string;
  /** Names of what was applied now; empty when everything was there. */
  readonly applied: readonly string[];
  /** What could not be done, with the statement that fixes it. */
  readonly warnings: readonly string[];
};

/**
 * Creates or upgrades schema `fairlead` on the primary. Does nothing where nothing is to do; two at once wait for each other.
 * @throws FairleadError `no_primary` when no node is one, `refused` when the role may not
 */
export async function migrate(config: Config, log: Log): Promise<MigrationReport> {
  const node = await findPrimary(config);
  const client = new pg.Client({
    ...loginOf(config, node),
    query_timeout: LOCK_TIMEOUT_MS,
    statement_timeout: LOCK_TIMEOUT_MS,
  });
  client.on('error', () => {});
  await client.connect();
  try {
    // of the session: released with it, whatever happens
    await client.query('SELECT pg_advisory_lock($1)', [LOCK_KEY]);
    await checkPrivilege(client, config);
    const applied = await applyMigrations(config, node);
    const warnings: string[] = [];
    const marks = await installDdlMarks(client);
    if (marks === 'installed') applied.push('ddl-marks');
    if (marks === 'forbidden') {
      warnings.push(
        `event triggers that mark DDL need a superuser: run \`fairlead migrate\` once with one as cluster.user; until then every commit counts as a change of all tables`,
      );
    }
    for (const warning of warnings) log.warn({ node: node.name }, warning);
    if (applied.length > 0) log.info({ node: node.name, applied }, 'migrated schema fairlead');
    return { primary: node.name, applied, warnings };
  } finally {
    await client.end();
  }
}

/** The one node that is not in recovery. */
async function findPrimary(config: Config): Promise<NodeConfig> {
  const found: NodeConfig[] = [];
  const problems: string[] = [];
  await Promise.all(
    membersOf(nodesOf(config)).map(async (node) => {
      const client = new pg.Client(loginOf(config, node));
      client.on('error', () => {});
      try {
        await client.connect();
        const { rows } = await client.query<{ replica: boolean }>('SELECT pg_is_in_recovery() AS replica');
        if (rows[0]?.replica === false) found.push(node);
        else problems.push(`${node.name} is a replica`);
      } catch (error) {
        problems.push(`${node.name}: ${messageOf(error)}`);
      } finally {
        await client.end().catch(() => {});
      }
    }),
  );
  const [primary] = found;
  if (primary === undefined) throw new FairleadError('no_primary', `no node is a primary: ${problems.join('; ')}`);
  if (found.length > 1) {
    const names = found.map((n) => n.name).join(' and ');
    throw new FairleadError('refused', `${names} are both primaries`, 'take the wrong one out of cluster.nodes');
  }
  return primary;
}

async function checkPrivilege(client: pg.Client, config: Config): Promise<void> {
  const { rows } = await client.query<{ present: boolean; allowed: boolean }>(`
    SELECT n.oid IS NOT NULL AS present, CASE WHEN n.oid IS NULL
      THEN has_database_privilege(current_database(), 'CREATE') ELSE has_schema_privilege(n.oid, 'CREATE') END AS allowed
    FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = 'fairlead'`);
  if (rows[0]?.allowed) return;
  const { user, database } = config.cluster;
  const role = pg.escapeIdentifier(user);
  throw new FairleadError(
    'refused',
    `role ${user} may not ${rows[0]?.present ? 'use' : 'create'} schema fairlead in database ${database}`,
    rows[0]?.present
      ? `GRANT USAGE, CREATE ON SCHEMA fairlead TO ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA fairlead TO ${role}`
      : `CREATE SCHEMA fairlead AUTHORIZATION ${role}`,
  );
}

async function applyMigrations(config: Config, node: NodeConfig): Promise<string[]> {
  const db = openDatabase(loginOf(config, node), 1);
  try {
    const migrator = new Migrator({ db, provider: PROVIDER, migrationTableSchema: 'fairlead' });
    const { error, results } = await migrator.migrateToLatest();
    if (error !== undefined) throw error instanceof Error ? error : new Error(messageOf(error));
    return (results ?? []).filter((r) => r.status === 'Success').map((r) => r.migrationName);
  } finally {
    await closeDatabase(db);
  }
}
