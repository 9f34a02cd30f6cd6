import { controlTarget } from '../backend/control-connection.ts';
import { agentsOf, type Config, type NodeConfig, nodesOf } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { ControlNodes } from '../failover/control-nodes.ts';
import { type Finding, fine, warning } from '../monitor/finding.ts';
import { AgentClient } from './agent-client.ts';
import type { AgentStatus } from './operation.ts';

const ASK_MS = 5000;

type Row = { hints: boolean; grants: boolean };

/** What pg_rewind reads a source's files with; a superuser has it all. */
const ASKED = `SELECT current_setting('wal_log_hints') = 'on' OR current_setting('data_checksums') = 'on' AS hints,
  (SELECT bool_and(has_function_privilege(f, 'EXECUTE')) FROM unnest(ARRAY['pg_ls_dir(text,boolean,boolean)', 'pg_stat_file(text,boolean)',
    'pg_read_binary_file(text)', 'pg_read_binary_file(text,bigint,bigint,boolean)']) f) AS grants`;

/** Whether the agents would do what `fairlead rejoin` asks of them. Nothing of it keeps Fairlead from running: all are warnings. */
export async function checkAgents(config: Config): Promise<Finding[]> {
  const all = nodesOf(config);
  const nodes = new ControlNodes((name) => controlTarget(config, all.find((n) => n.name === name) as NodeConfig));
  try {
    const findings = await Promise.all(
      [...agentsOf(config)].map(async ([node, address]) => {
        let status: AgentStatus;
        try {
          status = await new AgentClient(address, config.agent).status();
        } catch (error) {
          const fix = error instanceof FairleadError ? error.remedy : null;
          return [warning(node, `its agent: ${messageOf(error)}`, fix)];
        }
        const row = await nodes.query<Row>(node, ASKED, [], ASK_MS).then(
          (rows) => rows[0] ?? null,
          () => null,
        );
        return judge(node, status, row);
      }),
    );
    return findings.flat();
  } finally {
    nodes.close();
  }
}

/** @param row null: the server does not answer, which is told elsewhere */
function judge(node: string, status: AgentStatus, row: Row | null): Finding[] {
  const { noRewind, leftover } = status;
  const cloned = 'rejoin clones this node instead of rewinding it';
  if (leftover !== null) return [warning(node, `its agent: ${leftover}`, `fairlead rejoin ${node}`)];
  if (noRewind !== null) return [warning(node, `${noRewind}: ${cloned}`, null)];
  const findings: Finding[] = [];
  if (row?.hints === false) {
    const fix = 'ALTER SYSTEM SET wal_log_hints = on; then restart the server';
    findings.push(warning(node, `neither wal_log_hints nor data checksums: ${cloned}`, fix));
  }
  if (row?.grants === false) {
    const fix =
      'on the primary: GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO cluster.user';
    findings.push(warning(node, `cluster.user may not read the server's files: ${cloned}`, fix));
  }
  return findings.length > 0
    ? findings
    : [fine(node, `its agent answers, and can rewind it (${status.postgres.version})`)];
}
