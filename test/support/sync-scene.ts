/** A test cluster with Fairlead before it that keeps replication synchronous. Fairlead can be stopped and started again. */
import type { Synchrony } from '../../src/cluster/synchrony.ts';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster } from './cluster.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { httpGet, type Json } from './http.ts';
import { until } from './wait.ts';

export type SyncSceneOptions = {
  readonly replication: ConfigInput['replication'];
  readonly failover?: ConfigInput['failover'];
  readonly replicas?: number;
  /** `cluster.database`. */
  readonly database?: string;
};

export class SyncScene {
  readonly cluster: TestCluster;
  readonly #options: SyncSceneOptions;
  #fairlead: TestFairlead | null = null;

  private constructor(cluster: TestCluster, options: SyncSceneOptions) {
    this.cluster = cluster;
    this.#options = options;
  }

  /** Resolves when the configured number of copies is confirmed, unless `confirmed` is false. */
  static async start(options: SyncSceneOptions, { confirmed = true } = {}): Promise<SyncScene> {
    const cluster = await startTestCluster({ replicas: options.replicas ?? 2 });
    const scene = new SyncScene(cluster, options);
    try {
      await scene.startFairlead();
      if (confirmed) await scene.state('confirmed');
      return scene;
    } catch (error) {
      await scene.stop();
      throw error;
    }
  }

  get fairlead(): TestFairlead {
    if (this.#fairlead === null) throw new Error('Fairlead does not run');
    return this.#fairlead;
  }

  async startFairlead(): Promise<TestFairlead> {
    const { replication, failover, database } = this.#options;
    this.#fairlead = await startFairlead(this.cluster, {
      config: { replication, failover: { timeout: '1500ms', ...failover } },
      cluster: { probe_interval: '200ms', probe_timeout: '700ms', ...(database === undefined ? {} : { database }) },
    });
    return this.#fairlead;
  }

  async stopFairlead(): Promise<void> {
    const fairlead = this.#fairlead;
    this.#fairlead = null;
    await fairlead?.stop();
  }

  async stop(): Promise<void> {
    for (const node of this.cluster.nodes) await node.thaw().catch(() => {});
    await this.stopFairlead();
    await this.cluster.stop();
  }

  get synchrony(): Synchrony {
    const { value } = this.fairlead.app.cluster.synchrony;
    if (value === null) throw new Error('replication.mode is async');
    return value;
  }

  /** The one quorum that holds now; null while there are several, or none is known. */
  get confirmed(): { copies: number; nodes: readonly string[] } | null {
    const { guarantee } = this.synchrony;
    const [only] = guarantee ?? [];
    return guarantee?.length === 1 && only !== undefined ? { copies: only.copies, nodes: only.nodes } : null;
  }

  async state(state: Synchrony['state'], timeoutMs = 40_000): Promise<Synchrony> {
    await until(() => this.synchrony.state === state, { what: `state ${state}`, timeoutMs });
    return this.synchrony;
  }

  /** Resolves when exactly these followers count. */
  async counted(nodes: readonly string[], timeoutMs = 40_000): Promise<void> {
    const there = () =>
      this.synchrony.state === 'confirmed' && String(this.confirmed?.nodes) === String([...nodes].sort());
    await until(there, { what: `${nodes} to count`, timeoutMs });
  }

  async steady(primary: string, timeoutMs = 40_000): Promise<void> {
    const { assignment } = this.fairlead.app.cluster;
    await until(() => assignment.value.phase === 'steady' && assignment.value.primary === primary, {
      what: `${primary} to be the primary`,
      timeoutMs,
    });
  }

  async setting(node: string): Promise<string> {
    const sql = `SELECT current_setting('synchronous_standby_names') AS names`;
    return (await this.cluster.node(node).query<{ names: string }>(sql))[0]?.names ?? '';
  }

  /** Newest first. */
  async events(kind?: string): Promise<Json[]> {
    const { events } = (await httpGet(`${this.fairlead.http}/api/events?limit=1000`)).body;
    return kind === undefined ? events : events.filter((event: Json) => event.kind === kind);
  }

  /** The newest event of that kind, once there is one. */
  event(kind: string, timeoutMs = 30_000): Promise<Json> {
    return until(async () => (await this.events(kind))[0], { what: `an event ${kind}`, timeoutMs });
  }

  api(path: string): Promise<Json> {
    return httpGet(`${this.fairlead.http}${path}`).then((answer) => answer.body);
  }
}
