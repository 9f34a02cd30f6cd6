import { startTestCluster, type TestCluster, type TestNode } from './cluster.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { whileReplayIsPaused } from './paused-replay.ts';
import { RawClient } from './raw-client.ts';
import { untilServing } from './serving.ts';
import { until } from './wait.ts';

/** A primary and a replica that stands still when told to; table `quiet` is touched by nobody, `busy` by whoever wants to be seen. */
export class LaggingScene {
  readonly cluster: TestCluster;
  readonly fairlead: TestFairlead;
  readonly #open: RawClient[] = [];

  private constructor(cluster: TestCluster, fairlead: TestFairlead) {
    this.cluster = cluster;
    this.fairlead = fairlead;
  }

  /** @param schema run on the primary; role `reader` may log in and read whatever it makes in schema public */
  static async start(schema: string): Promise<LaggingScene> {
    // what autovacuum commits counts as a change of anything until it is looked into
    const cluster = await startTestCluster({ replicas: 1, settings: { autovacuum: 'off' } });
    const fairlead = await startFairlead(cluster, {
      auth: { users: { [cluster.superuser]: cluster.password, reader: 'reader' } },
      config: { failover: { mode: 'off' }, routing: { max_lag: '1s', freshness_wait: '150ms' } },
    });
    await untilServing(fairlead, 1);
    await cluster.node('pg1').query(`
      CREATE TABLE quiet (id int PRIMARY KEY, note text);
      INSERT INTO quiet VALUES (1, 'q');
      CREATE TABLE busy (id int);
      CREATE SCHEMA other;
      CREATE ROLE reader LOGIN PASSWORD 'reader';
      ${schema};
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;`);
    return new LaggingScene(cluster, fairlead);
  }

  async stop(): Promise<void> {
    for (const one of this.#open) one.vanish();
    await this.fairlead.stop();
    await this.cluster.stop();
  }

  get primary(): TestNode {
    return this.cluster.node('pg1');
  }

  get replicaState(): string | undefined {
    return this.fairlead.app.cluster.topology.value.byName.get('pg2')?.state;
  }

  /** @param user with its name for a password; left out: the superuser */
  async connect(user?: string): Promise<RawClient> {
    const client = await RawClient.connect(as(this.fairlead.url, user));
    this.#open.push(client);
    await client.query('SET search_path = other, public');
    return client;
  }

  async routeOf(client: RawClient): Promise<string> {
    const [route] = await client.records('SHOW fairlead.route');
    return `${route?.node} ${route?.reason}`;
  }

  whilePaused(run: () => Promise<void>): Promise<void> {
    return whileReplayIsPaused(this.cluster, ['pg2'], run);
  }

  /** Reads until it is so routed: right after a write the stream may not have told yet what was written. */
  async untilRouted(client: RawClient, text: string, route: string): Promise<void> {
    const routed = async () => {
      await client.query(text);
      const now = await this.routeOf(client);
      if (now !== route) throw new Error(now);
      return true;
    };
    await until(routed, { what: `${text} on ${route}` });
  }

  /** Writes and reads in turns until it is known which table is which: before, and after DDL, everything counts as changed. */
  async settle(client: RawClient, write = 'INSERT INTO busy VALUES (1)'): Promise<void> {
    await until(
      async () => {
        let route = '';
        await this.primary.query(write);
        await this.whilePaused(async () => {
          await client.query(write);
          await client.query('SELECT note FROM quiet');
          route = await this.routeOf(client);
        });
        return route === 'pg2 fresh tables';
      },
      { what: 'reads that know their tables', timeoutMs: 60_000 },
    );
  }

  /** What the primary itself answers. */
  async expectedOf(read: string, user?: string): Promise<string | null> {
    const direct = await RawClient.connect(as(this.primary.url, user));
    try {
      await direct.query('SET search_path = other, public');
      return await direct.value(read);
    } finally {
      direct.vanish();
    }
  }
}

function as(url: string, user: string | undefined): string {
  if (user === undefined) return url;
  const changed = new URL(url);
  changed.username = user;
  changed.password = user;
  return changed.href;
}
