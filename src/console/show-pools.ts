import type { Config } from '../config/config.ts';
import { databaseEntry, type PoolMode, poolSettings } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import type { ClientReport, PoolReport } from '../plane/plane.ts';
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
  async rows(console, { asPgbouncer }) {
    const pools = (await console.plane.pools()).map((pool) => countsOf(pool, console.config()));
    return (asPgbouncer ? merged(pools, await console.plane.clients(), console) : pools).map((counts) => {
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

function countsOf(pool: PoolReport, config: Config): Counts {
  const { node, purpose, database, user } = pool;
  return {
    node,
    purpose,
    database,
    user,
    pool_mode: poolSettings(config, database, user).mode,
    cl_active: pool.clientsServed,
    cl_waiting: pool.clientsWaiting,
    sv_active: pool.active,
    sv_being_canceled: pool.cancelling,
    sv_idle: pool.idle - pool.stale,
    sv_used: pool.stale,
    sv_tested: pool.checking,
    sv_login: pool.opening,
    sv_shared: pool.shared,
    shared_reads: pool.sharedReads,
    displaced_reads: pool.displacedReads,
    longestWaitMs: pool.longestWaitMs,
  };
}

/** One for each database and user. Clients are counted as PgBouncer does: whoever does not wait is active, idle ones included. */
function merged(all: readonly Counts[], clients: readonly ClientReport[], { config }: ConsoleDependencies): Counts[] {
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
  for (const client of clients) {
    if (client.operator) continue;
    const sum = sumOf(client.database, databaseEntry(config(), client.database)?.user ?? client.user);
    if (client.state === 'waiting') sum.cl_waiting++;
    else sum.cl_active++;
    sum.longestWaitMs = Math.max(sum.longestWaitMs, waitedMs(client));
  }
  return [...byName.values()];
}

function waitedMs({ state, lastRequestMs }: ClientReport): number {
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
