import { AgentClient } from '../agent/agent-client.ts';
import { findPrimary } from '../agent/find-primary.ts';
import { type Method, rejoin as rejoinNode } from '../agent/rejoin.ts';
import type { Repair } from '../agent/repairs.ts';
import { controlTarget } from '../backend/control-connection.ts';
import { agentsOf, membersOf, type NodeConfig, nodesOf } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { FairleadError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import { ControlNodes } from '../failover/control-nodes.ts';
import { parseOptions } from './arguments.ts';
import type { Command, Context, ExitCode } from './command.ts';
import { ProgressLine } from './progress-line.ts';
import { callRemote, nodeWord, REMOTE_OPTIONS, type Remote, remoteFrom } from './remote.ts';

const OPTIONS = {
  ...REMOTE_OPTIONS,
  config: { type: 'string', short: 'c' },
  rewind: { type: 'boolean' },
  clone: { type: 'boolean' },
} as const;

const POLL_MS = 250;

/** `fairlead rejoin NODE`: by a running Fairlead, or with `-c` without one. */
export const rejoin: Command = async (args, context) => {
  const { values, words } = parseOptions(args, OPTIONS, 1);
  const node = nodeWord(words);
  if (values.rewind && values.clone) throw new FairleadError('bad_arguments', 'choose --rewind or --clone');
  const method: Method = values.rewind ? 'rewind' : values.clone ? 'clone' : 'auto';
  const json = values.json === true;
  if (values.config !== undefined) return directly(values.config, node, method, json, context);
  return byFairlead(remoteFrom(values, context.environment), node, method, json, context);
};

async function byFairlead(
  remote: Remote,
  node: string,
  method: Method,
  json: boolean,
  { print, note }: Context,
): Promise<ExitCode> {
  const path = `/api/nodes/${encodeURIComponent(node)}/rejoin`;
  let { rejoin: repair } = (await callRemote(remote, path, { method })) as { rejoin: Repair };
  const line = new ProgressLine();
  let told = 0;
  let shown = 0;
  for (;;) {
    if (!json) {
      for (const text of repair.notes.slice(told)) {
        line.end();
        note(text);
      }
      told = repair.notes.length;
      for (const stage of repair.stages.slice(shown, -1)) line.show({ stage, doneBytes: null, totalBytes: null });
      shown = Math.max(shown, repair.stages.length - 1);
      line.show(repair);
    }
    if (repair.state !== 'running') break;
    await sleep(POLL_MS);
    ({ rejoin: repair } = (await callRemote(remote, path, null)) as { rejoin: Repair });
  }
  line.end();
  if (json) print(JSON.stringify(repair));
  else if (repair.state === 'done') print(repair.outcome ?? '');
  if (repair.state === 'done') return 0;
  throw new FairleadError('refused', repair.error ?? 'it failed', repair.remedy ?? undefined);
}

async function directly(
  file: string,
  node: string,
  method: Method,
  json: boolean,
  { print, note, environment }: Context,
): Promise<ExitCode> {
  const config = loadConfig({ file, environment, flags: {} });
  const address = agentsOf(config).get(node);
  if (address === undefined) {
    const known = config.cluster.nodes[node] === undefined ? `there is no node ${node}` : `${node} has no agent`;
    throw new FairleadError('refused', known, `say where it is: cluster.nodes.${node}.agent`);
  }
  const all = membersOf(nodesOf(config));
  const nodes = new ControlNodes((name) => controlTarget(config, all.find((n) => n.name === name) as NodeConfig));
  const line = new ProgressLine();
  try {
    const names = all.map(({ name }) => name);
    const primary = await findPrimary(nodes, names);
    const { how } = await rejoinNode({
      ...{ node, primary, names, method, mayClone: true, nodes, signal: new AbortController().signal },
      agent: new AgentClient(address, config.agent),
      step: (stage, bytes) =>
        line.show({ stage, doneBytes: bytes?.doneBytes ?? null, totalBytes: bytes?.totalBytes ?? null }),
      note: (text) => {
        line.end();
        note(text);
      },
    });
    line.end();
    print(json ? JSON.stringify({ node, primary, how }) : outcomeText(node, primary, how));
    return 0;
  } finally {
    line.end();
    nodes.close();
  }
}

function outcomeText(node: string, primary: string, how: string): string {
  return how === 'followed already'
    ? `${node} follows ${primary} already`
    : `${node} was ${how} and follows ${primary}`;
}
