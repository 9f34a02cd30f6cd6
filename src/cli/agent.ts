import { Agent, type AgentPort, type Requested } from '../agent/agent.ts';
import { askAgent } from '../agent/agent-exchange.ts';
import { AgentServer } from '../agent/agent-server.ts';
import { dropPrivileges } from '../agent/drop-privileges.ts';
import { localNode } from '../agent/local-node.ts';
import type { AgentStatus, Operation } from '../agent/operation.ts';
import type { AgentConfig } from '../config/config.ts';
import { loadAgentConfig } from '../config/load-agent.ts';
import type { Address } from '../config/units.ts';
import { FairleadError } from '../core/errors.ts';
import type { LogThreshold } from '../core/log.ts';
import { sleep } from '../core/sleep.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { programLog } from './program-log.ts';
import { StopRequest } from './stop-request.ts';
import { programVersion } from './version.ts';

export const AGENT_OPTIONS = {
  config: { type: 'string', short: 'c' },
  'data-dir': { type: 'string' },
  'pg-bin': { type: 'string' },
  'config-file': { type: 'string' },
} as const;

const OPTIONS = {
  ...AGENT_OPTIONS,
  listen: { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
} as const;
/** What is under way gets this long to end. */
const STOP_MS = 5000;
const WARM_MS = 5000;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];

/** `fairlead agent`: beside one server, until it is told to stop. The server goes on without it. */
export const agent: Command = async (args, { environment }) => {
  const { values } = parseOptions(args, OPTIONS);
  const level = values['log-level'];
  if (!LOG_LEVELS.includes(level)) {
    throw new FairleadError('bad_arguments', `--log-level ${level}: write one of ${LOG_LEVELS.join(', ')}`);
  }
  const config = loadAgentConfig(values.config ?? null, environment, {
    dataDirectory: values['data-dir'],
    binDirectory: values['pg-bin'],
    configFile: values['config-file'],
    listen: values.listen,
  });
  if (config.token === null || config.token === '') {
    throw new FairleadError(
      'bad_config',
      'agent.token is not set: whoever reached the agent could stop the server',
      'set FAIRLEAD_AGENT_TOKEN or agent.token, the same for Fairlead and all agents',
    );
  }
  const log = programLog(level as LogThreshold, process.stderr.isTTY === true);
  const started = localNode(config, log);
  const stop = new StopRequest((signal) => log.info({ signal }, 'stopping'));
  // a port may be root's, what is behind it may not
  const port = new LatePort();
  const server = new AgentServer(port, config, config.token, log);
  let worker: Agent | null = null;
  try {
    const listen = await server.start();
    await warmUp(listen, config);
    const node = dropPrivileges(started);
    worker = new Agent(node, programVersion());
    worker.start();
    port.agent = worker;
    log.info({ listen, data: node.places.data, postgres: node.version, uid: process.getuid?.() }, 'agent is ready');
    await stop.asked;
    return 0;
  } finally {
    await server.stop();
    await Promise.race([worker?.stop(), sleep(STOP_MS)]);
    stop.dispose();
  }
};

/** Answers nothing before there is an agent. */
class LatePort implements AgentPort {
  agent: AgentPort | null = null;

  status(): Promise<AgentStatus> {
    return this.#there.status();
  }

  ask(requested: Requested): Promise<Operation> {
    return this.#there.ask(requested);
  }

  get #there(): AgentPort {
    if (this.agent !== null) return this.agent;
    throw new FairleadError('refused', 'the agent is being started', 'ask again');
  }
}

/** Parts of the libraries are loaded by the first request with a body: while whoever started us may still read them. */
async function warmUp({ host, port }: Address, { token, tls_cert }: AgentConfig): Promise<void> {
  const name = host === '::' || host === '0.0.0.0' ? 'localhost' : host;
  const access = { token, tls_ca: tls_cert, unverified: true };
  await askAgent({ host: name, port }, access, '/nothing', { warm: 'ä' }, WARM_MS);
}
