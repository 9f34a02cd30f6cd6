import type { Pool } from './pool.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SettingsSet } from './settings-set.ts';
import { type Rider, SharedConnection } from './shared-connection.ts';
import type { StallWatch } from './stall-watch.ts';

/** The server connections of one pool that are shared right now. */
export class SharedConnections {
  readonly #pool: Pool;
  readonly #watch: StallWatch;
  readonly #all: SharedConnection[] = [];
  /** Reads that went behind others, and those of them that were taken away again because what stood before them took long. */
  joined = 0;
  displaced = 0;

  constructor(pool: Pool, watch: StallWatch) {
    this.#pool = pool;
    this.#watch = watch;
  }

  /** Exchanges on them. */
  get depth(): number {
    let depth = 0;
    for (const { connection } of this.#all) depth += connection.depth;
    return depth;
  }

  get count(): number {
    return this.#all.length;
  }

  /** A connection on which the read may stand behind others; null: it should have one to itself, and may share that. */
  seat(rider: Rider, atMs: number): ServerConnection | null {
    const pool = this.#pool;
    pool.usedMs = atMs;
    const { sharedConnections: most, size } = pool.settings;
    if (this.#all.length === 0) return null;
    // where there are few, or there can be no more, those who need one to themselves come to their turn
    if (pool.waitingCount > 0 && (size < 4 || this.#all.length >= pool.activeCount)) return null;
    if (pool.yields) return null;
    let best: SharedConnection | null = null;
    let same = 0;
    for (const shared of this.#all) {
      if (shared.settings !== rider.settings || !shared.open) continue;
      same++;
      if ((best === null || shared.expectedMs < best.expectedMs) && shared.admits(rider, atMs)) best = shared;
    }
    if (best === null) return null;
    // what is done in no time is cheaper behind others than beside them: fewer processes wake up, and each finds more to do
    const spread =
      !best.isLight(rider) && same < most && this.#hasRoom(size) && (pool.idleCount > 0 || pool.totalCount < most);
    if (spread) return null;
    this.joined++;
    return best.connection;
  }

  /** Lets others share a connection with the exchange that is about to be submitted on it. @returns false when there are enough */
  open(connection: ServerConnection): boolean {
    const { sharedConnections: most, size } = this.#pool.settings;
    // what stands on it already cannot be displaced
    if (connection.depth > 0 || connection.tainted || !this.#hasRoom(size) || this.#count(connection.settings) >= most)
      return false;
    const shared = new SharedConnection(connection, this);
    this.#all.push(shared);
    this.#watch.add(shared);
    return true;
  }

  /** It is gone. */
  closed({ sharing }: ServerConnection): void {
    if (sharing !== null) this.#remove(sharing);
  }

  /** Nobody is left on it. */
  drained(shared: SharedConnection): void {
    this.#remove(shared);
    this.#pool.release(shared.connection);
  }

  #remove(shared: SharedConnection): void {
    this.#watch.remove(shared);
    const at = this.#all.indexOf(shared);
    if (at !== -1) this.#all.splice(at, 1);
  }

  /** At least half of a pool is for those who need a connection to themselves. */
  #hasRoom(size: number): boolean {
    let open = 0;
    for (const shared of this.#all) if (shared.open) open++;
    return open < Math.max(1, size >> 1);
  }

  #count(settings: SettingsSet): number {
    let count = 0;
    for (const shared of this.#all) if (shared.open && shared.settings === settings) count++;
    return count;
  }
}
