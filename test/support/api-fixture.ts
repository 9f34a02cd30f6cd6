/** An API server over a model that the test moves by hand: what the monitor and the controller would write is written here. */
import { ApiServer } from '../../src/api/api-server.ts';
import { EventJournal } from '../../src/api/event-journal.ts';
import { OperatorControls } from '../../src/api/operator-controls.ts';
import type { ApiDependencies, ClusterEvent, LagSample, PoolStat, SessionStat } from '../../src/api/sources.ts';
import type { Assignment, Phase } from '../../src/cluster/assignment.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import type { NodeConfig } from '../../src/config/config.ts';
import { nowMs, wallMs } from '../../src/core/clock.ts';
import { SILENT } from '../../src/core/log.ts';
import { type Lsn, lsn } from '../../src/core/lsn.ts';
import { Traffic } from '../../src/frontend/traffic.ts';

const SYSTEM_ID = '7412345678901234567';
const NAMES = ['pg1', 'pg2', 'pg3'];

export class ApiFixture {
  readonly cluster: Cluster;
  readonly traffic = new Traffic(NAMES);
  readonly events: EventJournal;
  readonly server: ApiServer;
  readonly stored: ClusterEvent[] = [];
  readonly older: LagSample[] = [];
  readonly asked: string[] = [];
  /** What `switchover` and `failover` throw next. */
  refusal: Error | null = null;
  sessions: SessionStat = { total: 48, active: 9, idle: 37, pinned: 2, waiting: 0, held: 0 };
  pools: PoolStat[] = NAMES.map((node, i) => ({
    node,
    database: 'app',
    user: 'app',
    size: 20,
    active: 3 + i,
    idle: 4,
    connecting: 0,
    waiting: 0,
    maxWaitMs: 0,
  }));
  #sequence = 0;
  /** Position of the primary's last commit. */
  lsn: Lsn = lsn(0x3_4000_0000n);

  constructor(options: Partial<Pick<ApiDependencies, 'http' | 'token'>> = {}) {
    const nodes = NAMES.map(
      (name, i): NodeConfig => ({
        name,
        host: '10.0.0.1',
        port: 5432 + i,
        zone: ['a', 'b', 'c'][i] ?? null,
        weight: 1,
        promotable: true,
      }),
    );
    this.cluster = new Cluster(nodes, { ms: 10_000, bytes: null });
    this.events = new EventJournal(async (limit) => this.stored.slice(0, limit), SILENT);
    const move = async (what: string) => {
      this.asked.push(what);
      if (this.refusal !== null) throw this.refusal;
    };
    this.server = new ApiServer({
      http: options.http ?? { host: '127.0.0.1', port: 0 },
      token: options.token ?? null,
      version: '0.1.0',
      cluster: this.cluster,
      traffic: this.traffic,
      operations: new OperatorControls(this.cluster, {
        switchover: (to) => move(`switchover ${to ?? ''}`.trim()),
        failover: () => move('failover'),
      }),
      events: this.events,
      lagHistory: {
        list: async (since, until, node) =>
          this.older.filter((s) => s.atMs >= since && s.atMs < until && (node === null || s.node === node)),
      },
      replication: { view: () => ({ mode: 'stream', reason: 'follows pg1' }) },
      pools: { pools: () => this.pools },
      sessions: { sessions: () => this.sessions },
      log: SILENT,
    });
  }

  /** @returns the base URL. */
  async start(): Promise<string> {
    const { port } = await this.server.start();
    return `http://127.0.0.1:${port}`;
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  assign(primary: string | null, phase: Phase = 'steady', change: Partial<Assignment> = {}): void {
    this.cluster.assignment.set(
      Object.freeze({
        ...this.cluster.assignment.value,
        systemId: SYSTEM_ID,
        primary,
        phase,
        reason: primary === null ? 'the primary does not answer' : `${primary} is primary`,
        ...change,
      }),
    );
  }

  /** A commit on the primary: `bytes` of WAL. */
  commit(bytes = 200, atMs = wallMs()): void {
    this.lsn = lsn(this.lsn + BigInt(bytes));
    this.cluster.commits.record(this.lsn, atMs);
  }

  observe(
    node: string,
    role: 'primary' | 'replica',
    replayLsn: Lsn,
    upstream = 'pg1',
    timeline = 1,
    replayPaused = false,
  ): void {
    const at = nowMs();
    const from = this.cluster.nodes.find((n) => n.name === upstream) as NodeConfig;
    this.cluster.observations.record({
      node,
      sequence: ++this.#sequence,
      startedMs: at - 0.8,
      finishedMs: at,
      role,
      systemId: SYSTEM_ID,
      timeline,
      version: 180004,
      replayLsn,
      receiveLsn: role === 'primary' ? replayLsn : this.lsn,
      replayPaused,
      receiver:
        role === 'primary'
          ? null
          : {
              status: 'streaming',
              senderHost: from.host,
              senderPort: from.port,
              slotName: `fairlead_${node}`,
              timeline,
              silentMs: 12,
            },
      clockOffsetMs: 0,
      walLevel: 'logical',
      readOnly: false,
    });
  }

  fail(node: string, message = 'connection refused'): void {
    const at = nowMs();
    this.cluster.observations.recordFailure({
      node,
      sequence: ++this.#sequence,
      startedMs: at,
      finishedMs: at,
      kind: 'refused',
      message,
    });
  }

  /** One healthy primary `pg1` and two replicas that have replayed everything. */
  healthy(): void {
    this.assign('pg1', 'steady', { epoch: 3, timeline: 1 });
    this.observe('pg1', 'primary', this.lsn);
    this.observe('pg2', 'replica', this.lsn);
    this.observe('pg3', 'replica', this.lsn);
  }
}

/** A failover as the controller tells it. */
export function failoverEvent(change: Partial<ClusterEvent> = {}): ClusterEvent {
  return {
    id: `event-${Math.round(wallMs())}`,
    atMs: wallMs(),
    kind: 'failover',
    epoch: 4,
    node: 'pg2',
    message: 'pg1 did not answer for 3.0 s; pg2 was promoted in 4.1 s',
    lost: { bytes: 0, commits: 0, fromLsn: null, toLsn: null },
    details: { from: 'pg1', timeline: 2 },
    ...change,
  };
}
