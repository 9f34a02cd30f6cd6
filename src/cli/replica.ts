/** `fairlead replica create NAME`: a further replica, made on this machine or by the agent of another one. */
import { Agent, type AgentPort } from '../agent/agent.ts';
import { AgentClient } from '../agent/agent-client.ts';
import { dropPrivileges } from '../agent/drop-privileges.ts';
import { findPrimary } from '../agent/find-primary.ts';
import { localNode } from '../agent/local-node.ts';
import { rejoin } from '../agent/rejoin.ts';
import { controlTarget } from '../backend/control-connection.ts';
import { agentsOf, type Config, membersOf, type NodeConfig, nodesOf } from '../config/config.ts';
import { textOf } from '../config/keys.ts';
import { loadConfig } from '../config/load.ts';
import { loadAgentConfig } from '../config/load-agent.ts';
import { type Address, parseAddress } from '../config/units.ts';
import { FairleadError } from '../core/errors.ts';
import { ControlNodes } from '../failover/control-nodes.ts';
import { AGENT_OPTIONS } from './agent.ts';
import { parseOptions } from './arguments.ts';
import type { Command, Context } from './command.ts';
import { programLog } from './program-log.ts';
import { ProgressLine } from './progress-line.ts';
import { programVersion } from './version.ts';

const OPTIONS = {
  ...AGENT_OPTIONS,
  address: { type: 'string' },
  agent: { type: 'string' },
  json: { type: 'boolean' },
} as const;

type Values = { readonly [Name in keyof typeof OPTIONS]?: string | boolean | undefined };

export const replica: Command = async (args, context) => {
  const { values, words } = parseOptions(args, OPTIONS, 2);
  const [verb, name] = words;
  if (verb !== 'create' || name === undefined) {
    throw new FairleadError('bad_arguments', 'write `fairlead replica create NAME`');
  }
  if (values.config === undefined) throw new FairleadError('bad_arguments', 'give the configuration with -c FILE');
  const config = loadConfig({ file: values.config, environment: context.environment, flags: {} });
  const all = membersOf(nodesOf(config));
  const node = all.find((one) => one.name === name) ?? newNode(config, name, values.address);
  const nodes = new ControlNodes((wanted) =>
    controlTarget(config, wanted === name ? node : (all.find((one) => one.name === wanted) as NodeConfig)),
  );
  const line = new ProgressLine();
  try {
    const { agent, address } = agentFor(config, node, values, context);
    await requireNew(agent, name);
    const primary = await findPrimary(
      nodes,
      all.map((one) => one.name).filter((other) => other !== name),
    );
    await rejoin({
      ...{ node: name, primary, nodes, agent, method: 'clone', mayClone: true, signal: new AbortController().signal },
      names: all.map((one) => one.name),
      step: (stage, bytes) =>
        line.show({ stage, doneBytes: bytes?.doneBytes ?? null, totalBytes: bytes?.totalBytes ?? null }),
      note: context.note,
    });
    line.end();
    const known = all.includes(node);
    const lines = known ? null : configLines(node, address);
    if (values.json) context.print(JSON.stringify({ node: name, primary, configured: known, config: lines }));
    else for (const text of advice(config, name, primary, lines)) context.print(text);
    return 0;
  } finally {
    line.end();
    nodes.close();
  }
};

function newNode(config: Config, name: string, address: string | undefined): NodeConfig {
  if (address === undefined) {
    const text = `${name} is not in the configuration: say where it will be`;
    throw new FairleadError('bad_arguments', text, 'give --address HOST:PORT');
  }
  const { host, port } = addressOf('--address', address);
  return { name, host, port, tls: config.cluster.tls, zone: null, weight: 1, promotable: true };
}

function addressOf(option: string, text: string): Address {
  const address = parseAddress(text);
  if (address !== null) return address;
  throw new FairleadError('bad_arguments', `${option} ${text}: write HOST:PORT`);
}

/** The agent that is named, or one in this process, for the directory that is named. */
function agentFor(
  config: Config,
  node: NodeConfig,
  values: Values,
  { environment }: Context,
): { readonly agent: AgentPort; readonly address: Address | null } {
  const here = values['data-dir'] !== undefined;
  const given = typeof values.agent === 'string' ? addressOf('--agent', values.agent) : null;
  const address = given ?? (here ? null : (agentsOf(config).get(node.name) ?? null));
  if (address !== null) return { agent: new AgentClient(address, config.agent), address };
  const text = (value: string | boolean | undefined) => (typeof value === 'string' ? value : undefined);
  const own = loadAgentConfig(text(values.config) ?? null, environment, {
    dataDirectory: text(values['data-dir']),
    binDirectory: text(values['pg-bin']),
    configFile: text(values['config-file']),
  });
  const log = programLog('error', true);
  // the source's port is in the configuration that the clone brings along
  const settings = { port: String(node.port), ...own.settings };
  const local = dropPrivileges(localNode({ ...own, settings }, log));
  return { agent: new Agent(local, programVersion()), address: null };
}

/** What is there already is not replaced by a command that is called create. */
async function requireNew(agent: AgentPort, name: string): Promise<void> {
  const { exists, dataDirectory } = await agent.status();
  if (!exists) return;
  throw new FairleadError(
    'refused',
    `${dataDirectory} holds a server already`,
    `\`fairlead rejoin ${name} --clone\` replaces it, or name another --data-dir`,
  );
}

function configLines({ name, host, port }: NodeConfig, agent: Address | null): string {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return agent === null
    ? `${name}: ${address}`
    : `${name}: { address: "${address}", agent: "${textOf(['agent'], agent)}" }`;
}

function advice(config: Config, name: string, primary: string, lines: string | null): string[] {
  const limit = textOf(['routing', 'max_lag'], config.routing.max_lag);
  const admitted = `it serves reads as soon as its lag is within routing.max_lag (${limit})`;
  if (lines === null)
    return [
      `${name} was cloned and follows ${primary}; ${admitted} (\`fairlead reload\`, if Fairlead runs and does not know it yet)`,
    ];
  return [
    `${name} was cloned and follows ${primary}. Add this to the configuration and run \`fairlead reload\`; then ${admitted}.`,
    'cluster:',
    '  nodes:',
    `    ${lines}`,
  ];
}
