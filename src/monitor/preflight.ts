/** What `fairlead check` asks the servers: everything that would make Fairlead fail later, with what fixes it. */
import { ControlConnection, ControlError, controlTarget } from '../backend/control-connection.ts';
import { type Config, membersOf, type NodeConfig, nodesOf } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';
import { type Finding, fine, problem, warning } from './finding.ts';
import { judgeDoor } from './preflight-door.ts';
import { type NodeFacts, readFacts } from './preflight-facts.ts';
import { judgeCluster, judgeNode } from './preflight-judge.ts';
import { judgeSubscriber } from './preflight-subscriber.ts';
import { judgeUsers } from './preflight-users.ts';

/** Connects to every node and judges what it finds. Never rejects: what cannot be asked is a finding. */
export async function preflight(config: Config): Promise<Finding[]> {
  const nodes = membersOf(nodesOf(config));
  if (nodes.length === 0) return [problem(null, 'no node is configured', 'name them under cluster.nodes')];
  const asked = await Promise.all(nodes.map((node) => ask(config, node)));
  const facts = new Map<string, NodeFacts>();
  const findings: Finding[] = [];
  for (const [i, answer] of asked.entries()) {
    const node = nodes[i] as NodeConfig;
    if ('error' in answer) {
      const elsewhere = asked.some((a) => !('error' in a));
      findings.push(unreachable(node, config, answer.error, elsewhere));
      continue;
    }
    facts.set(node.name, answer);
    findings.push(fine(node.name, `PostgreSQL ${answer.version_text}, ${answer.in_recovery ? 'replica' : 'primary'}`));
    findings.push(...judgeNode(node, answer, config));
  }
  const answering = nodes.find(({ name }) => facts.has(name));
  for (const node of nodesOf(config)) {
    if (node.subscription !== undefined) findings.push(...(await askSubscriber(config, node, node.subscription)));
  }
  findings.push(...judgeCluster(nodes, facts, config), ...judgeDoor(config), ...(await judgeUsers(config, answering)));
  return findings;
}

async function ask(config: Config, node: NodeConfig): Promise<NodeFacts | { readonly error: unknown }> {
  const connection = new ControlConnection(controlTarget(config, node), 'fairlead-check');
  try {
    return await readFacts(connection);
  } catch (error) {
    return { error };
  } finally {
    connection.close();
  }
}

async function askSubscriber(config: Config, node: NodeConfig, subscription: string): Promise<Finding[]> {
  const connection = new ControlConnection(controlTarget(config, node), 'fairlead-check');
  try {
    return await judgeSubscriber(connection, subscription, config);
  } catch (error) {
    return [unreachable(node, config, error, false)];
  } finally {
    connection.close();
  }
}

const VERIFIED =
  'let cluster.tls.ca be the certificates that the server is verified with, and the name in its certificate its address';
const OFFERED =
  "ALTER SYSTEM SET ssl = 'on' and reload, or cluster.tls.mode: prefer; look into cluster.tls.cert and key";

/** What to look at when TLS does not come about. */
const TLS_FIX = {
  disable: null,
  allow: OFFERED,
  prefer: OFFERED,
  require: OFFERED,
  'verify-ca': VERIFIED,
  'verify-full': VERIFIED,
} as const;

function unreachable(node: NodeConfig, config: Config, error: unknown, othersAnswer: boolean): Finding {
  const { name, host, port } = node;
  const { user, database } = config.cluster;
  const text = messageOf(error);
  const kind = error instanceof ControlError ? error.kind : 'sql';
  const sqlState = error instanceof ControlError ? error.sqlState : null;
  switch (kind) {
    case 'refused':
    case 'unreachable':
    case 'hung':
    case 'lost':
      return problem(
        name,
        `${host}:${port} does not answer: ${text}`,
        'start it, or correct its address; check listen_addresses and firewall',
      );
    case 'starting':
      return warning(name, `not ready: ${text}`, 'wait until it accepts connections; a replica needs hot_standby = on');
    case 'too_many':
      return problem(name, text, 'ALTER SYSTEM SET max_connections = …; then restart, or close idle connections');
    case 'auth':
      // only TLS that does not come about fails without the server's word
      if (sqlState === null) return problem(name, text, TLS_FIX[node.tls.mode]);
      if (sqlState === '28P01' && othersAnswer) {
        return problem(
          name,
          `${text}; other nodes take the same password`,
          'is this node of the same cluster? set cluster.password to the right one',
        );
      }
      return problem(
        name,
        text,
        `CREATE ROLE "${user}" LOGIN REPLICATION PASSWORD '…'; and a line in pg_hba.conf: host "${database}" "${user}" ADDRESS scram-sha-256`,
      );
    default:
      if (sqlState === '3D000') return problem(name, text, `CREATE DATABASE "${database}", or set cluster.database`);
      return problem(name, text, null);
  }
}
