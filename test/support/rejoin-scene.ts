/** A cluster with an agent beside each server, Fairlead before it, and a primary that diverges. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { postmasterPid } from '../../src/embedded/postgres-processes.ts';
import { AGENT_TOKEN, placesOfServer, startAgent, type TestAgent } from './agent.ts';
import { startTestCluster, type TestCluster, type TestClusterOptions } from './cluster.ts';
import { runCommandLine } from './command-line.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { holdCopy } from './held-copy.ts';
import { untilServing } from './serving.ts';
import { queryOnce } from './test-cluster.ts';
import { until } from './wait.ts';

type Login = { readonly user: string; readonly password: string };

export class RejoinScene {
  readonly cluster: TestCluster;
  readonly agents: ReadonlyMap<string, TestAgent>;
  readonly fairlead: TestFairlead;
  /** Fairlead's on the servers; null: the superuser's. */
  readonly login: Login | null;

  private constructor(
    cluster: TestCluster,
    agents: ReadonlyMap<string, TestAgent>,
    fairlead: TestFairlead,
    login: Login | null,
  ) {
    this.cluster = cluster;
    this.agents = agents;
    this.fairlead = fairlead;
    this.login = login;
  }

  /** @param prepare before Fairlead is started. @returns whom it logs in to the servers as; the superuser by default */
  static async start(
    options: TestClusterOptions = {},
    prepare: (cluster: TestCluster) => Promise<Login | null> = async () => null,
  ): Promise<RejoinScene> {
    const cluster = await startTestCluster(options);
    const agents = new Map<string, TestAgent>();
    try {
      for (const { name } of cluster.nodes) agents.set(name, await startAgent(await placesOfServer(cluster, name)));
      const nodes = Object.fromEntries(
        cluster.nodes.map(({ name, host, port }) => [
          name,
          { address: `${host}:${port}`, agent: agents.get(name)?.address ?? '' },
        ]),
      );
      const login = await prepare(cluster);
      const fairlead = await startFairlead(cluster, {
        config: { failover: { timeout: 4000 }, agent: { token: AGENT_TOKEN } },
        cluster: { nodes, ...login },
      });
      const scene = new RejoinScene(cluster, agents, fairlead, login);
      await untilServing(fairlead, cluster.nodes.length - 1);
      return scene;
    } catch (error) {
      for (const agent of agents.values()) await agent.stop();
      await cluster.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.fairlead.stop();
    for (const agent of this.agents.values()) await agent.stop();
    await this.cluster.stop();
  }

  agent(name: string): TestAgent {
    const agent = this.agents.get(name);
    if (agent === undefined) throw new Error(`no agent beside ${name}`);
    return agent;
  }

  get primary(): string {
    return this.fairlead.app.cluster.assignment.value.primary ?? '';
  }

  /** SIGKILLs the primary, and waits for the next one. @returns its name */
  async failOver(): Promise<string> {
    const { assignment } = this.fairlead.app.cluster;
    const before = this.primary;
    // by its pid file: an agent may have started it
    process.kill(postmasterPid(this.agent(before).dataDirectory) as number, 'SIGKILL');
    await until(
      () => {
        const { phase, primary, reason } = assignment.value;
        if (phase !== 'steady' || primary === null || primary === before) throw new Error(`${phase}: ${reason}`);
        return true;
      },
      { what: 'another primary', timeoutMs: 60_000 },
    );
    return this.primary;
  }

  /** The former primary comes back and commits what nobody receives; then it is killed again. @param sql what it commits */
  async diverge(former: string, sql: string): Promise<void> {
    const node = this.cluster.node(former);
    await node.start();
    await until(() => this.fairlead.app.cluster.topology.value.byName.get(former)?.state === 'needs rejoin', {
      what: `${former} to need a rejoin`,
    });
    const own = `BEGIN READ WRITE; SET LOCAL synchronous_commit = local; ${sql}; COMMIT`;
    // the fence may end the session once
    await until(async () => (await queryOnce(node.url, own)) !== null, { what: 'commits of its own' });
    await node.kill9();
  }

  /** `fairlead rejoin …` against the running Fairlead. */
  rejoin(...args: readonly string[]) {
    return runCommandLine(['rejoin', ...args, '--http', this.fairlead.http]);
  }

  /** `fairlead rejoin NODE --clone`, held in the middle of the copy until `goOn` is called. */
  async heldClone(name: string) {
    for (;;) {
      let over = false;
      const under = this.rejoin(name, '--clone').finally(() => {
        over = true;
      });
      const goOn = await holdCopy(this.cluster.node(this.primary), () => over);
      if (goOn !== null) return { under, goOn };
      // it was over before anybody looked: once more, for a server that does not run
      process.kill(postmasterPid(this.agent(name).dataDirectory) as number, 'SIGKILL');
    }
  }

  /** A command that works from the configuration, without the running Fairlead. */
  async directly(...args: readonly string[]) {
    const { superuser: user, password, nodes } = this.cluster;
    const file = join(mkdtempSync(join(tmpdir(), 'fairlead-test-')), 'fairlead.yaml');
    const named = nodes.map(({ name, host, port }) => [
      name,
      { address: `${host}:${port}`, agent: this.agent(name).address },
    ]);
    const config = {
      cluster: { ...(this.login ?? { user, password }), nodes: Object.fromEntries(named) },
      agent: { token: AGENT_TOKEN },
    };
    writeFileSync(file, JSON.stringify(config));
    try {
      return await runCommandLine([...args, '-c', file]);
    } finally {
      rmSync(dirname(file), { recursive: true });
    }
  }

  /** The node serves reads of clients again. */
  async untilReadable(name: string): Promise<void> {
    const { topology } = this.fairlead.app.cluster;
    await until(() => topology.value.replicas.some((replica) => replica.name === name), {
      what: `${name} to serve reads: ${JSON.stringify(topology.value.byName.get(name)?.reason)}`,
      timeoutMs: 60_000,
    });
  }
}
