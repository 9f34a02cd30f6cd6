/** A listener whose admin database is the console, over a model that the test moves by hand. No PostgreSQL is needed. */
import net from 'node:net';
import type { ClusterEvent } from '../../../src/api/sources.ts';
import type { Pools } from '../../../src/backend/pools.ts';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { type Config, configSchema, nodesOf } from '../../../src/config/config.ts';
import { type Change, difference } from '../../../src/config/difference.ts';
import { pgbouncerKey } from '../../../src/config/pgbouncer-keys.ts';
import { withKey } from '../../../src/config/set-key.ts';
import { ConsoleSession } from '../../../src/console/console-session.ts';
import { Consoles } from '../../../src/console/consoles.ts';
import type { ConsoleDependencies } from '../../../src/console/dependencies.ts';
import { type RunCommand, runCommand } from '../../../src/console/run-command.ts';
import { nowMs } from '../../../src/core/clock.ts';
import { SILENT } from '../../../src/core/log.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { Signal } from '../../../src/core/signal.ts';
import { ALONE } from '../../../src/frontend/neighbours.ts';
import { Statistics } from '../../../src/frontend/statistics.ts';
import type { Traffic } from '../../../src/frontend/traffic.ts';
import { DataPlane } from '../../../src/plane/data-plane.ts';
import type { ReplicationState } from '../../../src/replication/replication.ts';
import { startupPacket } from '../../../src/wire/startup.ts';
import { notedOperations } from '../../support/operations.ts';

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
  #config: Config = CONFIG;
  readonly cluster = new Cluster(nodesOf(CONFIG), { ms: 10_000, bytes: null });
  readonly plane: DataPlane;
  readonly events: ClusterEvent[] = [];
  readonly asked: string[] = [];
  /** What a switchover waits for. */
  gate: Promise<void> = Promise.resolve();
  /** What `reload` answers, or throws. */
  reloaded: readonly Change[] | Error = [];
  port = 0;

  constructor() {
    const { cluster } = this;
    const consoles = new Consoles();
    this.plane = new DataPlane({
      cluster,
      config: CONFIG,
      log: SILENT,
      operators: consoles,
      neighbours: ALONE,
      openConsole: (client, { sessions }) => {
        const host = { consoles, sessions, log: SILENT, config: () => this.config };
        const run: RunCommand = (resolved, operator) => runCommand(resolved, console, operator);
        new ConsoleSession(client, { ...host, run }).start();
      },
    });
    const { plane } = this;
    const move = async (what: string) => {
      await this.gate;
      this.asked.push(what);
      return { tookMs: 120 };
    };
    const console: ConsoleDependencies = {
      version: '1.2.3',
      cluster,
      plane,
      traffic: {
        snapshot: () => this.traffic.snapshot(),
        get histograms() {
          const { read, write } = plane.services.traffic.counts();
          return { read, write };
        },
      },
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
      operations: notedOperations(cluster, move, this.asked),
      log: SILENT,
      config: () => this.config,
      reload: async () => {
        if (this.reloaded instanceof Error) throw this.reloaded;
        return this.reloaded;
      },
      statistics: new Statistics(
        () => plane.overview.counts,
        () => 60_000,
      ),
      isSetting: (key: string) => pgbouncerKey(key) !== null,
      set: (key: string, value: string) => {
        const changed = withKey(this.config, key, value);
        const changes = difference(this.config, changed);
        this.config = changed;
        return changes;
      },
      shutDown: (mode: string) => void this.asked.push(`shutdown ${mode}`),
    };
  }

  get config(): Config {
    return this.#config;
  }

  set config(config: Config) {
    this.#config = config;
    this.plane.prepare(config)(config);
  }

  get traffic(): Traffic {
    return this.plane.services.traffic;
  }

  get pools(): Pools {
    return this.plane.services.pools;
  }

  async start(): Promise<void> {
    this.plane.services.deadlines.start();
    this.port = (await this.plane.listener.doors.open({ host: '127.0.0.1', port: 0 }, false)).port;
  }

  async stop(): Promise<void> {
    await this.plane.shutDown('now');
  }

  get clients(): number {
    return this.plane.listener.clients;
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
