/**
 * Limits that several pools of a node share: connections of one database over all its users, connections of one user over all databases.
 * When such a limit is reached, an idle connection of another pool makes room; while there is none, the connections that are given back
 * go to whoever has waited longest, in whichever of the pools.
 */
import { nowMs } from '../core/clock.ts';
import type { Pool } from './pool.ts';

/** A connection changes pools only for somebody who has waited this long: each change costs a login, and two busy pools would change all the time. */
const PATIENCE_MS = 100;

export class SharedLimits {
  readonly #pools: (node: string) => Iterable<Pool>;
  /** Pools with clients waiting, that may not open a connection because of what others have. */
  readonly #starved = new Set<Pool>();
  /** A connection is being closed for a pool that will open its own at once. */
  #lending = false;

  constructor(pools: (node: string) => Iterable<Pool>) {
    this.#pools = pools;
  }

  /** True when the pool may open one more. @param urgent somebody waits for it: an idle connection of another pool is closed if need be */
  room(pool: Pool, urgent: boolean): boolean {
    const { maxDatabaseConnections, maxUserConnections } = pool.settings;
    const fits =
      (maxDatabaseConnections === 0 || this.#fits(pool, maxDatabaseConnections, sameDatabase, urgent)) &&
      (maxUserConnections === 0 || this.#fits(pool, maxUserConnections, sameUser, urgent));
    if (fits || pool.waitingCount === 0) this.#starved.delete(pool);
    else this.#starved.add(pool);
    return fits;
  }

  /** A connection of the pool is free. True when it is to be closed, for a pool that needs it more. */
  yields(pool: Pool): boolean {
    if (this.#starved.size === 0) return false;
    const atMs = nowMs();
    const waitMs = pool.longestWaitMs(atMs);
    for (const other of this.#starvedBeside(pool)) {
      const otherMs = other.longestWaitMs(atMs);
      if (pool.waitingCount === 0 || (otherMs > waitMs && otherMs >= PATIENCE_MS)) return true;
    }
    return false;
  }

  /** The pool has one connection less: whoever has waited longest may open one. */
  freed(pool: Pool): void {
    if (this.#starved.size === 0 || this.#lending) return;
    const atMs = nowMs();
    const waiting = [...this.#starvedBeside(pool)];
    if (pool.waitingCount > 0) waiting.push(pool);
    waiting.sort((a, b) => b.longestWaitMs(atMs) - a.longestWaitMs(atMs));
    for (const one of waiting) one.open();
  }

  forget(pool: Pool): void {
    this.#starved.delete(pool);
  }

  *#starvedBeside(pool: Pool): Iterable<Pool> {
    for (const other of [...this.#starved]) {
      if (other.waitingCount === 0) this.#starved.delete(other);
      else if (other !== pool && other.node === pool.node && (sameDatabase(pool, other) || sameUser(pool, other)))
        yield other;
    }
  }

  #fits(pool: Pool, limit: number, shares: (a: Pool, b: Pool) => boolean, urgent: boolean): boolean {
    let count = 0;
    let lender: Pool | null = null;
    for (const other of this.#pools(pool.node)) {
      if (!shares(pool, other)) continue;
      count += other.totalCount;
      if (other !== pool && other.idleCount > (lender?.idleCount ?? 0)) lender = other;
    }
    if (count < limit) return true;
    if (!urgent || lender === null) return false;
    this.#lending = true;
    lender.closeOldestIdle();
    this.#lending = false;
    // a limit that was lowered meanwhile takes several
    return count - 1 < limit;
  }
}

function sameDatabase(a: Pool, b: Pool): boolean {
  return a.key.database === b.key.database;
}

function sameUser(a: Pool, b: Pool): boolean {
  return a.key.user === b.key.user;
}
