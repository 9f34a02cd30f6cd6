/** A cluster with an agent beside each server and Fairlead before it as a process of its own: everything in it can be broken, and brought back. */
import { appendFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ConfigInput } from '../../src/config/config.ts';
import { messageOf } from '../../src/core/errors.ts';
import { sleep } from '../../src/core/sleep.ts';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import { freePort } from '../../src/embedded/free-port.ts';
import { signalProcess } from '../../src/embedded/postgres-processes.ts';
import { AGENT_TOKEN, placesOfServer, startAgent, type TestAgent } from '../support/agent.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/wait.ts';
import { type ClusterView, FairleadChild } from './fairlead-child.ts';
import { Partition } from './partition.ts';
import { freezeServer, killServer, postmasterOf, thawServer } from './servers.ts';

export type ArenaOptions = {
  readonly mode: 'async' | 'sync' | 'quorum';
  readonly pgBin?: string | undefined;
  readonly failover?: ConfigInput['failover'];
  readonly probes?: { readonly probe_interval: string; readonly probe_timeout: string };
  /** Where Fairlead's configuration and log go. */
  readonly directory: string;
};

/** Clients have a role of their own: servers can tell them from Fairlead. */
const APPLICATION = { user: 'application', password: 'app-secret' };
const RECOVER_MS = 120_000;
/** Between two requests to rejoin a node. */
const AGAIN_MS = 3000;

export class Arena {
  readonly cluster: TestCluster;
  readonly fairlead: FairleadChild;
  /** Through the proxy, as the application. */
  readonly url: string;
  readonly #agents: ReadonlyMap<string, TestAgent>;
  readonly #partitions: ReadonlyMap<string, Partition>;
  readonly #mode: ArenaOptions['mode'];
  #forget: readonly (() => void)[] = [];

  private constructor(
    cluster: TestCluster,
    agents: ReadonlyMap<string, TestAgent>,
    fairlead: FairleadChild,
    listen: string,
    mode: ArenaOptions['mode'],
  ) {
    this.cluster = cluster;
    this.#agents = agents;
    this.fairlead = fairlead;
    this.#mode = mode;
    this.url = `postgres://${APPLICATION.user}:${APPLICATION.password}@${listen}/postgres`;
    this.#partitions = new Map(cluster.nodes.map(({ name, port }) => [name, new Partition(port)]));
  }

  /** Resolves when everything serves. */
  static async start(options: ArenaOptions): Promise<Arena> {
    const cluster = await startTestCluster({ ...(options.pgBin === undefined ? {} : { pgBin: options.pgBin }) });
    const agents = new Map<string, TestAgent>();
    const forget: (() => void)[] = [];
    try {
      const primary = cluster.node('pg1');
      await primary.query(`CREATE ROLE ${APPLICATION.user} LOGIN PASSWORD '${APPLICATION.password}'`);
      await primary.query(`GRANT ALL ON SCHEMA public TO ${APPLICATION.user}`);
      for (const { name } of cluster.nodes) {
        const agent = await startAgent(await placesOfServer(cluster, name));
        agents.set(name, agent);
        forget.push(atExit(() => signalProcess(agent.pid, 'SIGKILL')));
      }
      for (const node of cluster.nodes) {
        appendFileSync(
          join((agents.get(node.name) as TestAgent).dataDirectory, 'pg_hba.conf'),
          'host all all 127.0.0.0/8 scram-sha-256\n',
        );
        await node.query('SELECT pg_reload_conf()');
      }
      mkdirSync(options.directory, { recursive: true });
      const listen = `127.0.0.1:${await freePort()}`;
      const fairlead = new FairleadChild(
        options.directory,
        configOf(cluster, agents, options, listen, await freePort()),
      );
      await fairlead.start();
      const arena = new Arena(cluster, agents, fairlead, listen, options.mode);
      arena.#forget = forget;
      await arena.recover();
      return arena;
    } catch (error) {
      for (const agent of agents.values()) await agent.stop();
      await cluster.stop();
      throw error;
    }
  }

  get names(): string[] {
    return this.cluster.nodes.map(({ name }) => name);
  }

  directoryOf(name: string): string {
    const agent = this.#agents.get(name);
    if (agent === undefined) throw new RangeError(`no node ${name}`);
    return agent.dataDirectory;
  }

  isUp(name: string): boolean {
    return postmasterOf(this.directoryOf(name)) !== null;
  }

  /** As Fairlead has it. @throws Error while there is none */
  async primary(): Promise<string> {
    const { primary, phase, reason } = await this.fairlead.look();
    if (primary === null) throw new Error(`no primary: ${phase}: ${reason}`);
    return primary;
  }

  kill(name: string): Promise<void> {
    return killServer(this.directoryOf(name));
  }

  freeze(name: string): void {
    freezeServer(this.directoryOf(name));
  }

  thaw(name: string): void {
    thawServer(this.directoryOf(name));
  }

  /** Only one that does not run. */
  async restart(name: string): Promise<void> {
    if (!this.isUp(name)) await this.cluster.node(name).start();
  }

  cut(name: string): Promise<void> {
    return this.#partition(name).cut();
  }

  mend(name: string): Promise<void> {
    return this.#partition(name).heal();
  }

  /** Undoes what is known to be broken: nobody is stopped or cut off any more, and Fairlead runs. */
  async release(): Promise<void> {
    for (const name of this.names) {
      this.thaw(name);
      await this.mend(name);
    }
    this.fairlead.thaw();
    await this.fairlead.start();
  }

  /** Everything as at the beginning: a primary, and all others its replicas. @throws Error with what is missing */
  async recover(): Promise<void> {
    await this.release();
    const asked = new Map<string, number>();
    await until(
      async () => {
        const view = await this.fairlead.look();
        const missing = this.#missing(view);
        if (missing === null) return true;
        if (view.phase !== 'steady') {
          for (const name of this.names) if (!this.isUp(name)) await this.restart(name).catch(() => {});
        } else await this.#rejoin(view, asked);
        await sleep(100);
        throw new Error(missing);
      },
      { what: 'the cluster to recover', timeoutMs: RECOVER_MS, everyMs: 50 },
    );
  }

  async stop(): Promise<void> {
    await this.fairlead.end('SIGKILL');
    for (const name of this.names) this.thaw(name);
    for (const partition of this.#partitions.values()) await partition.stop();
    for (const agent of this.#agents.values()) await agent.stop();
    for (const forget of this.#forget) forget();
    await this.cluster.stop();
  }

  /** Logs that tell what happened here. */
  get logs(): string[] {
    const near = new Set(this.names.map((name) => dirname(this.directoryOf(name))));
    const found = [...near, ...this.names.map((name) => `${this.directoryOf(name)}.fairlead`)].flatMap((directory) =>
      existsSync(directory)
        ? readdirSync(directory)
            .filter((file) => file.endsWith('.log') || file === 'log')
            .map((file) => join(directory, file))
        : [],
    );
    return [this.fairlead.logFile, ...found];
  }

  #missing({ phase, reason, primary, nodes, synchronous }: ClusterView): string | null {
    if (phase !== 'steady' || primary === null) return `${phase}: ${reason}`;
    // Fairlead may not have noticed yet
    const dead = this.names.find((name) => !this.isUp(name));
    if (dead !== undefined) return `${dead} does not run`;
    const late = nodes.find((node) => node.name !== primary && !(node.readable && node.state === 'up'));
    if (late !== undefined) return `${late.name} is ${late.state}: ${late.reason}`;
    if (this.#mode !== 'async' && synchronous?.state !== 'confirmed') return `replication is ${synchronous?.state}`;
    return null;
  }

  async #rejoin({ nodes, primary }: ClusterView, asked: Map<string, number>): Promise<void> {
    for (const { name, state } of nodes) {
      if (name === primary) {
        if (!this.isUp(name)) await this.restart(name).catch(() => {});
        continue;
      }
      if (state === 'up') continue;
      // one that was just let go finds its way by itself
      const since = asked.get(name) ?? performance.now() - (state === 'needs rejoin' ? AGAIN_MS : 0);
      asked.set(name, since);
      if (performance.now() - since < AGAIN_MS) continue;
      asked.set(name, performance.now());
      await this.fairlead.post(`/api/nodes/${name}/rejoin`).catch((error) => messageOf(error));
    }
  }

  #partition(name: string): Partition {
    const partition = this.#partitions.get(name);
    if (partition === undefined) throw new RangeError(`no node ${name}`);
    return partition;
  }
}

function configOf(
  cluster: TestCluster,
  agents: ReadonlyMap<string, TestAgent>,
  { mode, failover, probes }: ArenaOptions,
  listen: string,
  httpPort: number,
): ConfigInput {
  const { superuser, password, nodes } = cluster;
  return {
    listen,
    http: `127.0.0.1:${httpPort}`,
    auth: { users: { [APPLICATION.user]: APPLICATION.password } },
    failover,
    replication: { mode, copies: 1, degrade: 'block' },
    agent: { token: AGENT_TOKEN },
    cluster: {
      user: superuser,
      password,
      nodes: Object.fromEntries(
        nodes.map(({ name, host, port }) => [
          name,
          { address: `${host}:${port}`, agent: agents.get(name)?.address ?? null },
        ]),
      ),
      ...probes,
    },
  };
}
