import type { Pool } from '../backend/pool.ts';
import { databaseEntry, type PoolMode, poolSettings } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import type { Session } from '../frontend/session.ts';
import { secondsAndMicros } from './clock-text.ts';
import { show } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';

/** https://www.pgbouncer.org/usage.html#show-pools; `node` and `purpose` are ours. */
export const SHOW_POOLS = show({
  name: 'POOLS',
  help: 'pools of server connections, by node, purpose, database and user',
  columns: {
    database: 'text',
    user: 'text',
    cl_active: 'int4',
    cl_waiting: 'int4',
    cl_active_cancel_req: 'int4',
    cl_waiting_cancel_req: 'int4',
    sv_active: 'int4',
    sv_active_cancel: 'int4',
    sv_being_canceled: 'int4',
    sv_idle: 'int4',
    sv_used: 'int4',
    sv_tested: 'int4',
    sv_login: 'int4',
    maxwait: 'int4',
    maxwait_us: 'int4',
    pool_mode: 'text',
    load_balance_hosts: 'text',
    node: 'text',
    purpose: 'text',
    sv_shared: 'int4',
    shared_reads: 'int8',
    displaced_reads: 'int8',
  },
  rows(console, { asPgbouncer }) {
    const pools = [...console.pools.all()].map((pool) => countsOf(pool, nowMs()));
    return (asPgbouncer ? merged(pools, console) : pools).map((counts) => {
      const { longestWaitMs, ...rest } = counts;
      const [maxwait, maxwait_us] = secondsAndMicros(longestWaitMs);
      const fixed = {
        cl_active_cancel_req: 0,
        cl_waiting_cancel_req: 0,
        sv_active_cancel: 0,
        load_balance_hosts: null,
      };
      return { ...rest, ...fixed, maxwait, maxwait_us };
    });
  },
});

type Counts = {
  readonly database: string;
  readonly user: string;
  readonly node: string | null;
  readonly purpose: string | null;
  readonly pool_mode: PoolMode;
  cl_active: number;
  cl_waiting: number;
  sv_active: number;
  sv_being_canceled: number;
  sv_idle: number;
  sv_used: number;
  sv_tested: number;
  sv_login: number;
  sv_shared: number;
  shared_reads: number;
  displaced_reads: number;
  longestWaitMs: number;
};

function countsOf(pool: Pool, atMs: number): Counts {
  const connections = [...pool.connections()];
  const count = (passes: (c: (typeof connections)[number]) => boolean) => connections.filter(passes).length;
  const stale = count((c) => c.holder === null && c.sharing === null && c.depth === 0 && pool.isStale(c, atMs));
  return {
    ...pool.key,
    pool_mode: pool.settings.mode,
    cl_active: count((c) => c.holder !== null) + pool.shared.depth,
    cl_waiting: pool.waitingCount,
    sv_active: pool.activeCount,
    sv_being_canceled: count((c) => c.cancelling),
    sv_idle: pool.idleCount - stale,
    sv_used: stale,
    sv_tested: pool.checkingCount,
    sv_login: pool.openingCount,
    sv_shared: pool.shared.count,
    shared_reads: pool.shared.joined,
    displaced_reads: pool.shared.displaced,
    longestWaitMs: pool.longestWaitMs(atMs),
  };
}

/** One for each database and user. Clients are counted as PgBouncer does: whoever does not wait is active, idle ones included. */
function merged(all: readonly Counts[], { sessions, config }: ConsoleDependencies): Counts[] {
  const byName = new Map<string, Counts>();
  const sumOf = (database: string, user: string): Counts => {
    const id = JSON.stringify([database, user]);
    const known = byName.get(id);
    if (known !== undefined) return known;
    const pool_mode = poolSettings(config(), database, user).mode;
    const sum: Counts = { ...ZERO, database, user, pool_mode };
    byName.set(id, sum);
    return sum;
  };
  for (const one of all) {
    const sum = sumOf(one.database, one.user);
    for (const key of SUMMED) sum[key] += one[key];
  }
  for (const session of sessions.all()) {
    const { database, identity } = session.client;
    const sum = sumOf(database, databaseEntry(config(), database)?.user ?? identity.user);
    if (session.state === 'waiting') sum.cl_waiting++;
    else sum.cl_active++;
    sum.longestWaitMs = Math.max(sum.longestWaitMs, waitedMs(session));
  }
  return [...byName.values()];
}

function waitedMs({ state, lastRequestMs }: Session): number {
  return state === 'waiting' ? nowMs() - lastRequestMs : 0;
}

const SUMMED = [
  ...(['sv_active', 'sv_being_canceled', 'sv_idle', 'sv_used', 'sv_tested', 'sv_login'] as const),
  ...(['sv_shared', 'shared_reads', 'displaced_reads'] as const),
];

const ZERO = {
  node: null,
  purpose: null,
  cl_active: 0,
  cl_waiting: 0,
  sv_active: 0,
  sv_being_canceled: 0,
  sv_idle: 0,
  sv_used: 0,
  sv_tested: 0,
  sv_login: 0,
  sv_shared: 0,
  shared_reads: 0,
  displaced_reads: 0,
  longestWaitMs: 0,
} as const;
