/** A listener whose admin database is the console, over a model that the test moves by hand. No PostgreSQL is needed. */
import net from 'node:net';
import { OperatorControls } from '../../../src/api/operator-controls.ts';
import type { ClusterEvent } from '../../../src/api/sources.ts';
import { AnyNode } from '../../../src/backend/any-node.ts';
import { AuthQuery } from '../../../src/backend/auth-query.ts';
import { Catalogs } from '../../../src/backend/catalogs.ts';
import { DatabaseWatch } from '../../../src/backend/database-watch.ts';
import { LoginFactsReader } from '../../../src/backend/login-facts.ts';
import { Notifications } from '../../../src/backend/notifications.ts';
import { Pools } from '../../../src/backend/pools.ts';
import { PreparedStatements } from '../../../src/backend/prepared-statement.ts';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { type Config, configSchema, nodesOf } from '../../../src/config/config.ts';
import { type Change, difference } from '../../../src/config/difference.ts';
import { pgbouncerKey } from '../../../src/config/pgbouncer-keys.ts';
import { withKey } from '../../../src/config/set-key.ts';
import { ConsoleSession } from '../../../src/console/console-session.ts';
import { Consoles } from '../../../src/console/consoles.ts';
import { nowMs } from '../../../src/core/clock.ts';
import { Deadlines } from '../../../src/core/deadlines.ts';
import { SILENT } from '../../../src/core/log.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { Signal } from '../../../src/core/signal.ts';
import { Access } from '../../../src/frontend/access.ts';
import { Credentials } from '../../../src/frontend/credentials.ts';
import { HoldRoom } from '../../../src/frontend/hold-room.ts';
import { Lifecycle } from '../../../src/frontend/lifecycle.ts';
import { Listener } from '../../../src/frontend/listener.ts';
import { Sessions } from '../../../src/frontend/sessions.ts';
import { Statistics } from '../../../src/frontend/statistics.ts';
import { Traffic } from '../../../src/frontend/traffic.ts';
import type { ReplicationState } from '../../../src/replication/replication.ts';
import { Classifier } from '../../../src/sql/classifier.ts';
import { ClientTls } from '../../../src/transport/client-tls.ts';
import { startupPacket } from '../../../src/wire/startup.ts';

const CONFIG = configSchema.parse({
  cluster: {
    user: 'fairlead',
    password: 'very secret',
    nodes: { pg1: '127.0.0.1:1', pg2: { address: '127.0.0.1:2', zone: 'b' } },
  },
  http_token: 'also secret',
  auth: { type: 'trust', users: { app: 'secret too' } },
});

export class ConsoleFixture {
  config: Config = CONFIG;
  readonly cluster = new Cluster(nodesOf(CONFIG), { ms: 10_000, bytes: null });
  readonly traffic = new Traffic(['pg1', 'pg2']);
  readonly sessions = new Sessions();
  readonly pools: Pools;
  readonly events: ClusterEvent[] = [];
  readonly asked: string[] = [];
  /** What a switchover waits for. */
  gate: Promise<void> = Promise.resolve();
  /** What `reload` answers, or throws. */
  reloaded: readonly Change[] | Error = [];
  port = 0;
  readonly #deadlines = new Deadlines();
  readonly #listener: Listener;

  constructor() {
    const config = () => this.config;
    const { cluster, traffic, sessions } = this;
    this.pools = new Pools(cluster, config, SILENT);
    const holdRoom = new HoldRoom(cluster);
    const nowhere = () => {
      throw new Error('the console opens no connection');
    };
    const anyNode = new AnyNode(cluster, nowhere);
    const holders = { names: () => [], vacate() {}, gone() {} };
    const services = {
      access: new Access(config),
      clientTls: new ClientTls(),
      cluster,
      pools: this.pools,
      notifications: new Notifications(cluster, this.pools, config, SILENT, () => {}),
      credentials: new Credentials(config, new AuthQuery(anyNode, config, SILENT), SILENT),
      logins: new LoginFactsReader(anyNode, { gone() {} }),
      databases: new DatabaseWatch(anyNode, holders, SILENT),
      classifier: new Classifier({ maxEntries: 64 }),
      catalogs: new Catalogs(cluster, nowhere, SILENT),
      statements: new PreparedStatements(),
      deadlines: this.#deadlines,
      sessions,
      holdRoom,
      sequenceReaders: new Set<string>(),
      lifecycle: new Lifecycle(),
      traffic,
      log: SILENT,
      config,
    };
    const move = async (what: string) => {
      await this.gate;
      this.asked.push(what);
      return { tookMs: 120 };
    };
    const console = {
      version: '1.2.3',
      cluster,
      pools: this.pools,
      sessions,
      holdRoom,
      traffic,
      replication: {
        state: new Signal<ReplicationState>({
          mode: 'streaming',
          slot: 'fairlead_1',
          receivedLsn: lsn(1n),
          commits: 0,
          lastError: null,
        }),
      },
      events: { list: async (limit: number) => this.events.slice(0, limit) },
      operations: new OperatorControls(cluster, {
        switchover: (to) => move(`switchover ${to ?? ''}`.trim()),
        failover: () => move('failover'),
      }),
      log: SILENT,
      config,
      reload: async () => {
        if (this.reloaded instanceof Error) throw this.reloaded;
        return this.reloaded;
      },
      consoles: new Consoles(),
      statistics: new Statistics(this.pools.counters, sessions, () => 60_000),
      isSetting: (key: string) => pgbouncerKey(key) !== null,
      set: (key: string, value: string) => {
        const changed = withKey(this.config, key, value);
        const changes = difference(this.config, changed);
        this.config = changed;
        return changes;
      },
      shutDown: (mode: string) => void this.asked.push(`shutdown ${mode}`),
      clients: () => this.#listener.clients,
    };
    this.#listener = new Listener(services, sessions, (client) => new ConsoleSession(client, console).start());
  }

  async start(): Promise<void> {
    this.#deadlines.start();
    this.port = (await this.#listener.start({ host: '127.0.0.1', port: 0 })).port;
  }

  async stop(): Promise<void> {
    await this.#listener.stop();
    this.#deadlines.stop();
  }

  get clients(): number {
    return this.#listener.clients;
  }

  /** `pg1` is the primary, `pg2` has replayed everything. */
  healthy(): void {
    const { cluster } = this;
    cluster.assignment.set(
      Object.freeze({
        ...cluster.assignment.value,
        epoch: 3,
        primary: 'pg1',
        timeline: 1,
        phase: 'steady',
        reason: 'pg1 is primary',
      }),
    );
    for (const node of ['pg1', 'pg2']) {
      const at = nowMs();
      cluster.observations.record({
        node,
        sequence: 1,
        startedMs: at,
        finishedMs: at,
        role: node === 'pg1' ? 'primary' : 'replica',
        systemId: '1',
        timeline: 1,
        version: 180004,
        replayLsn: lsn(0x3000060n),
        receiveLsn: lsn(0x3000060n),
        replayPaused: false,
        receiver: null,
        clockOffsetMs: 0,
        walLevel: 'logical',
        readOnly: false,
      });
    }
  }

  /** A socket that has sent its startup packet. */
  raw(database = 'fairlead'): net.Socket {
    const socket = net.connect(this.port, '127.0.0.1');
    socket.write(
      startupPacket([
        ['user', 'fairlead'],
        ['database', database],
      ]),
    );
    return socket;
  }
}
