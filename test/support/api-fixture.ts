/** An API server over a model that the test moves by hand: what the monitor and the controller would write is written here. */
import { ApiServer } from '../../src/api/api-server.ts';
import { EventJournal } from '../../src/api/event-journal.ts';
import type { ApiDependencies, PoolStat, SessionStat } from '../../src/api/sources.ts';
import type { Assignment, Phase } from '../../src/cluster/assignment.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import type { NodeConfig } from '../../src/config/config.ts';
import type { Change } from '../../src/config/difference.ts';
import { nowMs, wallMs } from '../../src/core/clock.ts';
import { FairleadError } from '../../src/core/errors.ts';
import { SILENT } from '../../src/core/log.ts';
import { type Lsn, lsn } from '../../src/core/lsn.ts';
import { Signal } from '../../src/core/signal.ts';
import { Traffic } from '../../src/frontend/traffic.ts';
import type { ReplicationState } from '../../src/replication/replication.ts';
import type { LagSample, StoredEvent } from '../../src/store/records.ts';
import { type Noted, notedOperations, PLAN } from './operations.ts';
import { NO_TLS } from './server-tls.ts';

const SYSTEM_ID = '7412345678901234567';
const NAMES = ['pg1', 'pg2', 'pg3'];

export class ApiFixture {
  readonly cluster: Cluster;
  readonly traffic = new Traffic(NAMES);
  readonly events: EventJournal;
  readonly server: ApiServer;
  /** Events of the store, newest first. */
  stored: StoredEvent[] = [];
  readonly replication = new Signal<ReplicationState>({
    mode: 'streaming',
    slot: 'fairlead_1',
    receivedLsn: lsn(0x3_4000_0000n),
    commits: 0,
    lastError: null,
  });
  readonly older: LagSample[] = [];
  readonly asked: string[] = [];
  /** What `switchover` and `failover` throw next. */
  refusal: Error | null = null;
  /** What is answered to a plan. */
  readonly noted: Noted = { plan: PLAN };
  readonly repairs = new Map<string, object>();
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
    sharedReads: 0,
    displacedReads: 0,
  }));
  accepting = true;
  /** What a reload answers. */
  changes: Change[] = [];
  readonly #listeners = new Set<(event: StoredEvent) => void>();
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
        tls: NO_TLS,
      }),
    );
    this.cluster = new Cluster(nodes, { ms: 10_000, bytes: null });
    const store = {
      listEvents: async (limit: number) => this.stored.slice(0, limit),
      subscribe: (listener: (event: StoredEvent) => void) => {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
    };
    this.events = new EventJournal(store, SILENT);
    const move = async (what: string) => {
      this.asked.push(what);
      if (this.refusal !== null) throw this.refusal;
      return { tookMs: 120 };
    };
    this.server = new ApiServer({
      http: options.http ?? { host: '127.0.0.1', port: 0 },
      token: options.token ?? null,
      version: '0.1.0',
      cluster: this.cluster,
      traffic: trafficOf(this.traffic),
      operations: notedOperations(this.cluster, move, this.asked, this.noted),
      events: this.events,
      lagHistory: {
        lagHistory: async (since, until, node) =>
          this.older.filter((s) => s.atMs >= since && s.atMs < until && (node === null || s.node === node)),
      },
      replication: { state: this.replication },
      pools: { pools: () => this.pools },
      sessions: { sessions: () => this.sessions },
      repairs: {
        of: (node) => this.repairs.get(node) ?? null,
        rejoin: (node, method) => {
          if (node === 'pg1') throw new FairleadError('refused', 'pg1 is the primary');
          this.repairs.set(node, { node, method, state: 'running' });
          return this.repairs.get(node) as object;
        },
      },
      workers: async () => [],
      refresh: async () => {},
      accepting: () => this.accepting,
      reload: async () => this.changes,
      log: SILENT,
    });
  }

  /** @returns the base URL. */
  async start(): Promise<string> {
    this.events.start();
    const { port } = await this.server.start();
    return `http://127.0.0.1:${port}`;
  }

  stop(): Promise<void> {
    this.events.stop();
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

  /** Something happens now: it is told and stored. */
  happen(event: StoredEvent): void {
    this.stored = [event, ...this.stored];
    for (const listener of this.#listeners) listener(event);
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

function trafficOf(traffic: Traffic): ApiDependencies['traffic'] {
  return {
    snapshot: () => traffic.snapshot(),
    get histograms() {
      const { read, write } = traffic.counts();
      return { read, write };
    },
  };
}

/** A failover as the controller tells it. */
export function failoverEvent(change: Partial<StoredEvent> = {}): StoredEvent {
  return {
    id: `event-${Math.round(wallMs())}`,
    atMs: wallMs(),
    kind: 'failover',
    epoch: 4,
    node: 'pg2',
    message: 'pg2 is the primary on timeline 2 after pg1; nothing was lost',
    detail: {
      from: 'pg1',
      to: 'pg2',
      lostBytes: 0,
      lostCommitCount: 0,
      forkLsn: '3/40000000',
      oldPrimaryLsn: '3/40000000',
    },
    ...change,
  };
}
