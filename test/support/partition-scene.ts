/** Clients before a cluster whose servers can be cut off from each other and from Fairlead, and what must be true afterwards. */
import assert from 'node:assert/strict';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster, type TestNode } from './cluster.ts';
import { ClusterWatch } from './cluster-watch.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { httpGet, type Json } from './http.ts';
import { Journal } from './journal.ts';
import { PrivateNetwork } from './private-network.ts';
import { untilServing } from './serving.ts';
import { until } from './wait.ts';

const NODES = ['pg1', 'pg2', 'pg3'] as const;
const CLIENTS = 6;
export const TIMEOUT_MS = 2000;
/** Of the clients: the servers' logs tell them from Fairlead and from the test. */
export const APPLICATION = { user: 'application', password: 'app-secret' };

type Sections = { readonly replication?: ConfigInput['replication']; readonly routing?: ConfigInput['routing'] };

export class PartitionScene {
  readonly network: PrivateNetwork;
  readonly cluster: TestCluster;
  readonly fairlead: TestFairlead;
  readonly journal: Journal;
  readonly watch: ClusterWatch;

  private constructor(
    network: PrivateNetwork,
    cluster: TestCluster,
    fairlead: TestFairlead,
    journal: Journal,
    watch: ClusterWatch,
  ) {
    this.network = network;
    this.cluster = cluster;
    this.fairlead = fairlead;
    this.journal = journal;
    this.watch = watch;
  }

  /** Resolves when both replicas serve reads and the clients write. */
  static async start(sections: Sections = {}): Promise<PartitionScene> {
    const network = new PrivateNetwork(NODES);
    const undo: (() => Promise<unknown>)[] = [async () => network.remove()];
    try {
      // everything that clients send is in the log
      const cluster = await startTestCluster({ network });
      undo.unshift(() => cluster.stop());
      const { user, password } = APPLICATION;
      const pg1 = cluster.node('pg1');
      await pg1.query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`);
      await pg1.query(`ALTER ROLE ${user} SET log_statement = 'all'`);
      await pg1.query(`GRANT ALL ON SCHEMA public TO ${user}`);
      const fairlead = await startFairlead(cluster, {
        config: { failover: { timeout: TIMEOUT_MS, hold: '60s' }, ...sections },
        cluster: { probe_interval: '200ms', probe_timeout: '600ms' },
        auth: { users: { [user]: password, [cluster.superuser]: cluster.password } },
      });
      undo.unshift(() => fairlead.stop());
      await untilServing(fairlead, 2);
      const url = new URL(fairlead.url);
      Object.assign(url, { username: user, password });
      const journal = await Journal.start(url.href, CLIENTS);
      undo.unshift(() => journal.stop().catch(() => {}));
      await journal.progress();
      return new PartitionScene(network, cluster, fairlead, journal, new ClusterWatch(cluster));
    } catch (error) {
      for (const step of undo) await step().catch(() => {});
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.network.heal();
    await this.watch.stop();
    await this.fairlead.stop();
    await this.journal.stop().catch(() => {});
    await this.cluster.stop();
    this.network.remove();
  }

  node(name: string): TestNode {
    return this.cluster.node(name);
  }

  get assignment() {
    return this.fairlead.app.cluster.assignment.value;
  }

  stateOf(name: string): string | undefined {
    return this.fairlead.app.cluster.topology.value.byName.get(name)?.state;
  }

  /** That node is the primary and the controller is at rest. */
  async steady(primary: string, timeoutMs = 40_000): Promise<void> {
    await until(
      () => {
        const { phase, primary: now, reason } = this.assignment;
        if (phase !== 'steady' || now !== primary) throw new Error(`${phase}, ${now}: ${reason}`);
        return true;
      },
      { what: `${primary} to be the primary`, timeoutMs },
    );
  }

  /** The reason that the controller gives for its phase comes to say this. */
  async says(what: RegExp, timeoutMs = 30_000): Promise<void> {
    await until(() => what.test(this.assignment.reason) || this.#complain(), { what: String(what), timeoutMs });
  }

  async state(node: string, state: string, timeoutMs = 40_000): Promise<void> {
    await until(() => this.stateOf(node) === state || this.#complain(), { what: `${node} to be ${state}`, timeoutMs });
  }

  /** Exactly these followers stand for acknowledged commits. */
  async counted(...nodes: readonly string[]): Promise<void> {
    const { synchrony } = this.fairlead.app.cluster;
    const now = () => {
      const { state = null, guarantee = null } = synchrony.value ?? {};
      return `${state} ${guarantee?.map((quorum) => quorum.nodes)}`;
    };
    await until(() => now() === `confirmed ${nodes}` || this.#complain(now()), {
      what: `${nodes} to count`,
      timeoutMs: 40_000,
    });
  }

  /** Everything streams and serves again, and every client writes. */
  async healed(primary = 'pg1', replicas = 2): Promise<void> {
    this.network.heal();
    await this.steady(primary);
    const { topology } = this.fairlead.app.cluster;
    await until(() => topology.value.replicas.length === replicas || this.#complain(), {
      what: `${replicas} replicas to serve reads`,
      timeoutMs: 40_000,
    });
    await this.journal.progress();
  }

  /** Newest first. */
  async events(kind?: string): Promise<Json[]> {
    const { events } = (await httpGet(`${this.fairlead.http}/api/events?limit=1000`)).body;
    return kind === undefined ? events : events.filter((event: Json) => event.kind === kind);
  }

  event(kind: string, timeoutMs = 30_000): Promise<Json> {
    return until(async () => (await this.events(kind))[0], { what: `an event ${kind}`, timeoutMs });
  }

  rowsOf(node: string): Promise<{ id: number; port: number }[]> {
    return this.node(node).query<{ id: number; port: number }>('SELECT id, port FROM journal');
  }

  /** Ends the clients and compares what they were told with what is on that server. @returns the acknowledged writes that are not */
  async assertTruth(primary: string): Promise<readonly number[]> {
    const { journal, watch } = this;
    await journal.stop();
    await watch.stop();
    const { lost, ghosts, duplicates, missed } = journal.compare(await this.rowsOf(primary));
    assert.deepEqual(ghosts, [], 'writes that were said to have failed, and are there');
    assert.equal(duplicates, 0);
    assert.deepEqual(missed, [], 'own writes that were not seen');
    assert.deepEqual(
      journal.connections.map(({ lost }) => lost).filter((reason) => reason !== null),
      [],
      'no client connection is closed',
    );
    assert.ok(watch.samples.length > 100, 'or nobody looked');
    for (const [timeline, writers] of watch.writersByTimeline()) {
      assert.equal(writers.size, 1, `timeline ${timeline} was written by ${[...writers]}`);
    }
    assert.deepEqual(watch.stepsBack(), []);
    assert.equal(new Set(watch.samples.map(({ systemId }) => systemId)).size, 1);
    return lost;
  }

  #complain(more = ''): never {
    const { phase, reason } = this.assignment;
    const nodes = [...this.fairlead.app.cluster.topology.value.byName.values()].map(
      (n) => `${n.name} ${n.state}: ${n.reason}`,
    );
    throw new Error(`${phase}: ${reason}; ${nodes.join('; ')} ${more}`);
  }
}
