import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { ListeningConnection } from './listening-connection.ts';
import { notificationFrom, readNotification } from './notification.ts';
import type { Identity, Pools } from './pools.ts';

const CHECK_MS = 5000;
const PARAMETERS: readonly (readonly [string, string])[] = [
  ['application_name', 'fairlead-listen'],
  ['client_encoding', 'UTF8'],
];

/** The listening connections, one per database that sessions listen in. */
export class Notifications {
  readonly #cluster: Cluster;
  readonly #pools: Pools;
  readonly #config: () => Config;
  readonly #log: Log;
  readonly #ready: () => void;
  readonly #databases = new Map<string, ListeningConnection>();
  /** The primary that handed over its role, as planned: it had nothing left to notify. */
  #handedOver: string | null = null;
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param ready called when writes that wait for a listening connection may go on */
  constructor(cluster: Cluster, pools: Pools, config: () => Config, log: Log, ready: () => void) {
    this.#cluster = cluster;
    this.#pools = pools;
    this.#config = config;
    this.#log = log;
    this.#ready = ready;
  }

  /** Before whoever sends writes to a new primary: they wait until it is listened to. */
  start(): void {
    const { topology, assignment } = this.#cluster;
    this.#unsubscribe = topology.subscribe(() => {
      const { fenced, handingOver, primary } = assignment.value;
      if (handingOver !== null) this.#handedOver = handingOver;
      else if (primary === this.#handedOver) this.#handedOver = null;
      for (const one of this.#databases.values()) one.follow((node) => fenced.has(node));
    });
    this.#timer = setInterval(() => this.#check(), CHECK_MS).unref();
  }

  stop(): void {
    this.#unsubscribe?.();
    clearInterval(this.#timer);
    for (const one of this.#databases.values()) one.end();
    this.#databases.clear();
  }

  /** @param identity of a session that wants to listen: how to log in where the control user may not */
  of(database: string, identity: Identity): ListeningConnection {
    let one = this.#databases.get(database);
    if (one === undefined) {
      one = this.#make(database, identity);
      this.#databases.set(database, one);
    }
    return one;
  }

  /** True while a write in the database could notify sessions that would not hear it, because the primary is new. */
  behind(database: string): boolean {
    return this.#databases.get(database)?.behind === true;
  }

  /** Closes connections to such databases that nobody listens over: somebody wants the database for himself. */
  vacate(which: (database: string) => boolean): void {
    for (const [database, one] of this.#databases) {
      if (!which(database) || !one.unused) continue;
      one.end();
      this.#databases.delete(database);
    }
  }

  /** A notification from a server connection that listens for one session alone, with the pid that clients know. */
  translate(node: string, buffer: Buffer, start: number, end: number): Buffer {
    const { pid } = readNotification(buffer, start, end);
    return notificationFrom(this.#pools.clientPidOf(node, pid) ?? pid, buffer, start, end);
  }

  #make(database: string, identity: Identity): ListeningConnection {
    const { topology } = this.#cluster;
    return new ListeningConnection({
      database,
      identities: () => {
        const { user, password } = this.#config().cluster;
        const control: Identity = { user, secret: password === null ? null : { kind: 'password', password } };
        return user === identity.user ? [identity, control] : [control, identity];
      },
      login: (node, as) => {
        const target = topology.value.byName.get(node);
        if (target === undefined) throw new RangeError(`no node ${node}`);
        return this.#pools.login(target, database, as, PARAMETERS);
      },
      topology: () => topology.value,
      clientPidOf: (node, pid) => this.#pools.clientPidOf(node, pid),
      mayMiss: (node) => this.#handedOver !== node,
      ready: this.#ready,
      log: this.#log,
    });
  }

  #check(): void {
    const atMs = nowMs();
    for (const [database, one] of this.#databases) {
      if (one.check(atMs)) continue;
      one.end();
      this.#databases.delete(database);
    }
  }
}
