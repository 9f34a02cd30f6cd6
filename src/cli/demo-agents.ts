import { randomBytes } from 'node:crypto';
import { Agent } from '../agent/agent.ts';
import { AgentServer } from '../agent/agent-server.ts';
import { localNode } from '../agent/local-node.ts';
import { agentSchema } from '../config/config.ts';
import type { Log } from '../core/log.ts';
import type { EmbeddedCluster } from '../embedded/embedded-cluster.ts';
import { programVersion } from './version.ts';

/** The agents beside the demo's servers, in this process: `fairlead rejoin` brings back what was killed. */
export class DemoAgents {
  readonly token = randomBytes(9).toString('hex');
  /** HOST:PORT by node. */
  readonly addresses = new Map<string, string>();
  readonly #agents: Agent[] = [];
  readonly #servers: AgentServer[] = [];

  async start(cluster: EmbeddedCluster, log: Log): Promise<void> {
    for (const { name, directory } of cluster.nodes) {
      const config = agentSchema.parse({
        ...{ listen: '127.0.0.1:0', token: this.token },
        ...{ data_directory: directory, bin_directory: cluster.programs },
      });
      const agent = new Agent(localNode(config, log), programVersion());
      const server = new AgentServer(agent, config, this.token, log);
      const { host, port } = await server.start();
      this.#agents.push(agent);
      this.#servers.push(server);
      this.addresses.set(name, `${host}:${port}`);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await Promise.all(this.#agents.map((agent) => agent.stop()));
  }
}
