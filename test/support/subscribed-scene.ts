import pg from 'pg';
import type { Config } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster, type TestNode } from './cluster.ts';
import { configFor, startFairlead, type TestFairlead, type TestFairleadOptions } from './fairlead.ts';
import { RawClient } from './raw-client.ts';
import { show, untilServing } from './serving.ts';
import { queryOnce } from './test-cluster.ts';
import { until } from './wait.ts';

export const SUBSCRIPTION = 'sub';

/** Superuser on both sides, with this for a password. */
const USER = 'everywhere';
const MAKE_USER = `CREATE ROLE ${USER} SUPERUSER LOGIN PASSWORD '${USER}'`;

/** A primary, a physical replica, and `sub`: a server of its own that subscribes to publication `pub` of the primary. */
export class SubscribedScene {
  readonly cluster: TestCluster;
  readonly fairlead: TestFairlead;
  readonly config: Config;
  readonly #other: TestCluster;
  readonly #open: { vanish(): void }[] = [];

  private constructor(cluster: TestCluster, other: TestCluster, fairlead: TestFairlead, config: Config) {
    this.config = config;
    this.cluster = cluster;
    this.#other = other;
    this.fairlead = fairlead;
  }

  /**
   * @param schema run on both sides
   * @param publish run on the primary, of this version: makes publication `pub`
   */
  static async start(
    schema: string,
    publish: (major: number) => string,
    mode: 'off' | 'automatic',
  ): Promise<SubscribedScene> {
    const started: { stop(): Promise<void> }[] = [];
    const stopped = async <T extends { stop(): Promise<void> }>(one: Promise<T>): Promise<T> => {
      started.unshift(await one);
      return one;
    };
    try {
      return await SubscribedScene.#start(schema, publish, mode, stopped);
    } catch (error) {
      for (const one of started) await one.stop();
      throw error;
    }
  }

  /** @param stopped takes what has to be stopped when something fails */
  static async #start(
    schema: string,
    publish: (major: number) => string,
    mode: 'off' | 'automatic',
    stopped: <T extends { stop(): Promise<void> }>(one: Promise<T>) => Promise<T>,
  ): Promise<SubscribedScene> {
    const cluster = await stopped(startTestCluster({ replicas: 1 }));
    const other = await stopped(startTestCluster({ replicas: 0 }));
    const [there] = other.nodes as [TestNode];
    await there.query(MAKE_USER);
    await (cluster.nodes[0] as TestNode).query(MAKE_USER);
    const nodes = cluster.nodes.map(({ name, host, port }) => [name, `${host}:${port}`]);
    const options: TestFairleadOptions = {
      auth: { users: { [cluster.superuser]: cluster.password, [USER]: USER }, admins: [cluster.superuser] },
      cluster: {
        user: USER,
        password: USER,
        nodes: {
          ...Object.fromEntries(nodes),
          sub: { address: `${there.host}:${there.port}`, subscription: SUBSCRIPTION },
        },
      },
      config: { failover: { mode, timeout: '5s' }, routing: { max_lag: '5s', freshness_wait: '1s' } },
    };
    const fairlead = await stopped(startFairlead(cluster, options));
    await untilServing(fairlead, 1);
    const scene = new SubscribedScene(cluster, other, fairlead, configFor(cluster, options));
    await scene.primary.query(`${schema}; ${publish(cluster.major)}`);
    await scene.there(schema);
    await scene.subscribe('pg1');
    return scene;
  }

  async stop(): Promise<void> {
    for (const one of this.#open) one.vanish();
    await this.fairlead.stop();
    await this.cluster.stop();
    await this.#other.stop();
  }

  get primary(): TestNode {
    return this.cluster.node('pg1');
  }

  get #thereUrl(): string {
    return (this.#other.nodes[0] as TestNode).url;
  }

  /** On the subscriber itself. */
  there<Row extends pg.QueryResultRow = Record<string, unknown>>(text: string): Promise<Row[]> {
    return queryOnce<Row>(this.#thereUrl, text);
  }

  /** Kills the subscriber's server and starts it again: what it has not flushed is lost. */
  async crash(): Promise<void> {
    const [there] = this.#other.nodes as [TestNode];
    await there.kill9();
    await there.start();
  }

  async subscribe(publisher: string, options = ''): Promise<void> {
    const connection = `CONNECTION '${this.#conninfo(publisher)}'`;
    await this.there(`CREATE SUBSCRIPTION ${SUBSCRIPTION} ${connection} PUBLICATION pub ${options}`);
  }

  /** Lets it receive from another node. */
  async turnTo(publisher: string): Promise<void> {
    await this.there(`ALTER SUBSCRIPTION ${SUBSCRIPTION} CONNECTION '${this.#conninfo(publisher)}'`);
  }

  #conninfo(publisher: string): string {
    const { host, port } = this.cluster.node(publisher);
    return `host=${host} port=${port} user=${USER} password=${USER} dbname=postgres`;
  }

  /** While it runs the apply worker can write nothing into the table; whoever reads it is not disturbed. */
  async whileLocked(table: string, run: () => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: this.#thereUrl });
    client.on('error', () => {});
    await client.connect();
    try {
      await client.query(`BEGIN; LOCK TABLE ${table} IN SHARE MODE`);
      await run();
    } finally {
      await client.end();
    }
  }

  async connect(): Promise<RawClient> {
    const url = new URL(this.fairlead.url);
    url.username = USER;
    url.password = USER;
    const client = await RawClient.connect(url.href);
    this.#open.push(client);
    return client;
  }

  async node(name: string): Promise<Readonly<Record<string, string | null>> | undefined> {
    return (await show(this.fairlead.url, 'SHOW NODES')).find((row) => row.name === name);
  }

  /** Where the read ran, and why. */
  async routeOf(client: RawClient, read: string): Promise<string> {
    await client.query(read);
    const [route] = await client.records('SHOW fairlead.route');
    return `${route?.node} ${route?.reason}`;
  }

  /** Tables of the subscription that are not read there, and why. */
  get leftOut(): readonly string[] {
    return this.fairlead.app.cluster.observations.of('sub').last?.subscription?.leftOut ?? [];
  }

  async untilOn(node: string, client: RawClient, read: string): Promise<void> {
    let route = '';
    await until(
      async () => {
        route = await this.routeOf(client, read);
        if (route.startsWith(`${node} `)) return true;
        const { state, reason } = (await this.node('sub')) ?? {};
        throw new Error(`${route}; sub: ${state}, ${reason}`);
      },
      { what: `${read} on ${node}`, timeoutMs: 40_000 },
    );
  }
}
