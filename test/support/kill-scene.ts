/** Fairlead as a process that is killed at a chosen step of what it does to the servers, and what must be true once it runs again. */
import assert from 'node:assert/strict';
import { splitMark } from '../../src/cluster/mark.ts';
import type { ConfigInput } from '../../src/config/config.ts';
import { postmasterPid } from '../../src/embedded/postgres-processes.ts';
import { parseConninfo } from '../../src/failover/conninfo.ts';
import { AGENT_TOKEN, placesOfServer, startAgent, type TestAgent } from './agent.ts';
import { Breakpoints, type Step } from './breakpoints.ts';
import { startTestCluster, type TestCluster } from './cluster.ts';
import { runCommandLine } from './command-line.ts';
import { Connection } from './connection.ts';
import { type FairleadProcess, startFairleadProcess } from './fairlead-process.ts';
import { httpGet, httpPost, type Json } from './http.ts';
import { until } from './wait.ts';

/** The replicas stream as this role: its password is nowhere but in their own settings. */
const STREAMER = 'streamer';

const FACTS = `SELECT pg_is_in_recovery() AS recovery, current_setting('primary_conninfo') AS conninfo,
  current_setting('primary_slot_name') AS slot, current_setting('synchronous_standby_names') AS names,
  current_setting('default_transaction_read_only') AS "readOnly",
  (SELECT sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming') AS "senderPort",
  coalesce((SELECT array_agg(slot_name::text) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active), '{}') AS unused`;

type Facts = {
  recovery: boolean;
  conninfo: string;
  slot: string;
  names: string;
  readOnly: string;
  senderPort: number | null;
  unused: string[];
};

export type Settled = { readonly primary: string; readonly epoch: number; readonly fenced: readonly string[] };

/** Where to kill: the number of a step, counted from 1, or the first whose statement looks so. */
export type Where = { readonly at: number | RegExp; readonly when: 'before' | 'after' };

export type KillSceneOptions = {
  readonly replication?: ConfigInput['replication'];
  readonly notPromotable?: string;
  /** Default 2s; longer where nobody is to be promoted. */
  readonly timeout?: string;
};

export class KillScene {
  readonly cluster: TestCluster;
  readonly breakpoints: Breakpoints;
  readonly #agents: ReadonlyMap<string, TestAgent>;
  readonly #options: KillSceneOptions;
  #fairlead: FairleadProcess | null = null;
  /** Ids that were acknowledged. */
  readonly acknowledged: number[] = [];
  #next = 1;
  #writing: Promise<unknown> = Promise.resolve();
  #stopped = false;

  private constructor(
    cluster: TestCluster,
    breakpoints: Breakpoints,
    agents: ReadonlyMap<string, TestAgent>,
    options: KillSceneOptions,
  ) {
    this.cluster = cluster;
    this.breakpoints = breakpoints;
    this.#agents = agents;
    this.#options = options;
  }

  static async start(options: KillSceneOptions): Promise<KillScene> {
    const cluster = await startTestCluster();
    const agents = new Map<string, TestAgent>();
    const breakpoints = await Breakpoints.before(cluster);
    const scene = new KillScene(cluster, breakpoints, agents, options);
    try {
      for (const { name } of cluster.nodes) agents.set(name, await startAgent(await placesOfServer(cluster, name)));
      const [pg1, ...replicas] = cluster.nodes;
      await pg1?.query(`CREATE ROLE ${STREAMER} LOGIN REPLICATION PASSWORD 'only here'`);
      await pg1?.query('CREATE TABLE kept (id int)');
      for (const node of replicas) {
        const conninfo = `host=127.0.0.1 port=${pg1?.port} user=${STREAMER} password='only here' application_name=${node.name}`;
        await node.query(`ALTER SYSTEM SET primary_conninfo = '${conninfo.replaceAll("'", "''")}'`);
        await node.query('SELECT pg_reload_conf()');
      }
      await scene.startFairlead();
      await scene.settled([]);
      scene.#writing = Promise.all([scene.#write(), scene.#write()]);
      await until(() => scene.acknowledged.length > 20, { what: 'writes' });
      return scene;
    } catch (error) {
      await scene.stop();
      throw error;
    }
  }

  get fairlead(): FairleadProcess {
    if (this.#fairlead === null) throw new Error('Fairlead does not run');
    return this.#fairlead;
  }

  async startFairlead(): Promise<void> {
    const nodes = Object.fromEntries(
      this.cluster.nodes.map(({ name }) => [
        name,
        {
          address: `127.0.0.1:${this.breakpoints.port(name)}`,
          agent: this.#agents.get(name)?.address ?? '',
          promotable: name !== this.#options.notPromotable,
        },
      ]),
    );
    const { replication, timeout = '2s' } = this.#options;
    const config = {
      failover: { timeout, max_promotions: 1000 },
      agent: { token: AGENT_TOKEN },
      ...(replication && { replication }),
    };
    const servers = { nodes, probe_interval: '150ms', probe_timeout: '500ms' };
    this.#fairlead = await startFairleadProcess(this.cluster, config, servers);
  }

  async stopFairlead(): Promise<void> {
    const fairlead = this.#fairlead;
    this.#fairlead = null;
    await fairlead?.stop();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.breakpoints.watch = null;
    await this.stopFairlead();
    await this.#writing.catch(() => {});
    for (const agent of this.#agents.values()) await agent.stop();
    this.breakpoints.stop();
    await this.cluster.stop();
  }

  /**
   * Starts something, kills Fairlead at that step, and starts it again.
   * @param ended says that it came to its end before
   * @returns the step, or null when it has no such step
   */
  async killAt(where: Where, begin: () => Promise<void>, ended: () => Promise<boolean>): Promise<Step | null> {
    let count = 0;
    let hit: Step | null = null;
    const killed = new Promise<Step>((resolve) => {
      this.breakpoints.watch = {
        decide: (step) => {
          count++;
          const here = typeof where.at === 'number' ? count === where.at : where.at.test(step.statement);
          if (!here || hit !== null) return 'pass';
          hit = step;
          return where.when === 'before' ? 'cut before' : 'cut after';
        },
        cut: (step) => {
          process.kill(this.fairlead.pid, 'SIGKILL');
          resolve(step);
        },
      };
    });
    await begin();
    const over = until(async () => hit !== null || (await ended()), { what: 'the step', timeoutMs: 60_000 });
    await over;
    const step = hit === null ? null : await killed;
    this.breakpoints.watch = null;
    if (step === null) return null;
    const fairlead = this.fairlead;
    this.#fairlead = null;
    await fairlead.kill9();
    await this.startFairlead();
    return step;
  }

  /** Asked of the running Fairlead; it may die before it answers. */
  async switchover(): Promise<void> {
    httpPost(`${this.fairlead.http}/api/switchover`, {}).catch(() => {});
  }

  /** Fairlead is at rest with another primary. */
  async hasMovedFrom(old: string): Promise<boolean> {
    const { body } = await httpGet(`${this.fairlead.http}/api/cluster`);
    return body.phase === 'steady' && body.primary !== null && body.primary !== old;
  }

  /** What Fairlead says of synchronous replication. */
  async synchrony(): Promise<Json> {
    return (await httpGet(`${this.fairlead.http}/api/cluster`)).body.synchronous;
  }

  /** SIGKILL to the server, by its pid file: an agent may have started it. */
  killServer(name: string): void {
    process.kill(postmasterPid(this.#agents.get(name)?.dataDirectory ?? '') as number, 'SIGKILL');
  }

  /** One writer, everybody else behind it or fenced, and nothing left over. @param down servers that do not run */
  async settled(down: readonly string[], timeoutMs = 60_000): Promise<Settled> {
    const patience = { what: 'an order', timeoutMs, everyMs: 100 };
    await until(() => this.#look(down), patience);
    // nor anything that only waits for the next reload
    for (const node of this.cluster.nodes.filter(({ name }) => !down.includes(name)))
      await node.query('SELECT pg_reload_conf(), pg_sleep(0.05)');
    return until(() => this.#look(down), patience);
  }

  async #look(down: readonly string[]): Promise<Settled> {
    const { body } = await httpGet(`${this.fairlead.http}/api/cluster`);
    const { primary, epoch, phase, timeline } = body as {
      primary: string;
      epoch: number;
      phase: string;
      timeline: number;
    };
    assert.equal(phase, 'steady', body.reason);
    const fenced: string[] = [];
    let unused: readonly string[] = [];
    const ports = [this.cluster.node(primary).port, this.breakpoints.port(primary)];
    for (const node of this.cluster.nodes.filter(({ name }) => !down.includes(name))) {
      const [facts] = await node.query<Facts>(FACTS);
      if (facts === undefined) throw new Error('no answer');
      const at = `${node.name}: ${JSON.stringify(facts)}`;
      assert.equal(splitMark(facts.conninfo).mark, null, at);
      if (node.name === primary) {
        assert.ok(!facts.recovery && facts.readOnly === 'off' && !/fairlead_(fence|change)/.test(facts.names), at);
        ({ unused } = facts);
        const [row] = await node.query<{ primary: string; timeline: number }>(
          'SELECT "primary", timeline FROM fairlead.epochs WHERE epoch = $1',
          [epoch],
        );
        assert.deepEqual(row, { primary, timeline }, 'the epoch is on record, and was nobody else’s');
      } else if (facts.recovery) {
        assert.ok(ports.includes(facts.senderPort ?? 0), at);
        assert.ok(ports.includes(Number(parseConninfo(facts.conninfo).get('port'))), at);
        assert.ok(facts.slot !== '' && facts.readOnly === 'off' && !facts.names.includes('fence'), at);
      } else {
        assert.ok(facts.readOnly === 'on' && facts.names.includes('fairlead_fence_'), at);
        fenced.push(node.name);
      }
    }
    // whoever is down, or is to be rejoined, may have its slot
    const expected = [...down, ...fenced];
    assert.deepEqual(
      unused.filter((slot) => !expected.some((name) => slot.endsWith(name))),
      [],
      'slots that nobody uses',
    );
    await this.#writable();
    return { primary, epoch, fenced };
  }

  /** A replica that was not rejoined goes on with the login that it had. */
  async assertOwnLogin(name: string): Promise<void> {
    const [facts] = await this.cluster.node(name).query<Facts>(FACTS);
    const info = parseConninfo(facts?.conninfo ?? '');
    assert.deepEqual([info.get('user'), info.get('password')], [STREAMER, 'only here'], facts?.conninfo);
  }

  /** Everything that was acknowledged is there. */
  async assertKept(primary: string): Promise<void> {
    const acknowledged = [...this.acknowledged];
    const rows = await this.cluster.node(primary).query<{ id: number }>('SELECT id FROM kept');
    const there = new Set(rows.map(({ id }) => id));
    assert.deepEqual(
      acknowledged.filter((id) => !there.has(id)),
      [],
      'acknowledged and lost',
    );
  }

  async rejoin(name: string): Promise<void> {
    const { code, stderr } = await runCommandLine(['rejoin', name, '--http', this.fairlead.http]);
    assert.equal(code, 0, stderr);
  }

  async #writable(): Promise<void> {
    const before = this.acknowledged.length;
    if (before === 0 || this.#stopped) return;
    await until(() => this.acknowledged.length > before, { what: 'a write of a client', timeoutMs: 10_000 });
  }

  /** A client that comes again whenever Fairlead is there. */
  async #write(): Promise<void> {
    while (!this.#stopped) {
      const url = this.#fairlead?.url;
      const connection = url === undefined ? null : await Connection.open(url).catch(() => null);
      if (connection === null) await new Promise((resolve) => setTimeout(resolve, 50));
      while (connection !== null && connection.lost === null && !this.#stopped) {
        const id = this.#next++;
        try {
          await connection.rows('INSERT INTO kept VALUES ($1)', [id]);
          this.acknowledged.push(id);
        } catch {
          // not acknowledged
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await connection?.close();
    }
  }
}
