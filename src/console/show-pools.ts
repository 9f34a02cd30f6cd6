import type { Pool } from '../backend/pool.ts';
import { nowMs } from '../core/clock.ts';
import { secondsAndMicros } from './clock-text.ts';
import { show } from './command.ts';

/** https://www.pgbouncer.org/usage.html#show-pools; `node` and `purpose` are ours. */
export const SHOW_POOLS = show({
  name: 'POOLS',
  help: 'pools of server connections, by node, purpose, database and user',
  columns: {
    database: 'text',
    user: 'text',
    cl_active: 'int8',
    cl_waiting: 'int8',
    cl_active_cancel_req: 'int8',
    cl_waiting_cancel_req: 'int8',
    sv_active: 'int8',
    sv_active_cancel: 'int8',
    sv_being_canceled: 'int8',
    sv_idle: 'int8',
    sv_used: 'int8',
    sv_tested: 'int8',
    sv_login: 'int8',
    maxwait: 'int8',
    maxwait_us: 'int8',
    pool_mode: 'text',
    load_balance_hosts: 'text',
    node: 'text',
    purpose: 'text',
  },
  rows(console, { asPgbouncer }) {
    const { mode } = console.config().pool;
    const counts = [...console.pools.all()].map(countsOf);
    return (asPgbouncer ? merged(counts) : counts).map((c) => {
      const [maxwait, maxwait_us] = secondsAndMicros(c.longestWaitMs);
      return {
        database: c.database,
        user: c.user,
        cl_active: c.linked,
        cl_waiting: c.waiting,
        cl_active_cancel_req: 0,
        cl_waiting_cancel_req: 0,
        sv_active: c.active,
        sv_active_cancel: 0,
        sv_being_canceled: c.cancelling,
        sv_idle: c.idle,
        sv_used: 0,
        sv_tested: 0,
        sv_login: c.opening,
        maxwait,
        maxwait_us,
        pool_mode: mode,
        load_balance_hosts: null,
        node: c.node,
        purpose: c.purpose,
      };
    });
  },
});

type Counts = {
  readonly database: string;
  readonly user: string;
  readonly node: string | null;
  readonly purpose: string | null;
  readonly linked: number;
  readonly waiting: number;
  readonly active: number;
  readonly cancelling: number;
  readonly idle: number;
  readonly opening: number;
  readonly longestWaitMs: number;
};

function countsOf(pool: Pool): Counts {
  const connections = [...pool.connections()];
  return {
    ...pool.key,
    linked: connections.filter((c) => c.holder !== null).length,
    waiting: pool.waitingCount,
    active: pool.activeCount,
    cancelling: connections.filter((c) => c.cancelling).length,
    idle: pool.idleCount,
    opening: pool.openingCount,
    longestWaitMs: pool.longestWaitMs(nowMs()),
  };
}

/** One for each database and user. */
function merged(all: readonly Counts[]): Counts[] {
  const byName = new Map<string, Counts>();
  for (const one of all) {
    const id = JSON.stringify([one.database, one.user]);
    const sum = byName.get(id);
    byName.set(id, {
      database: one.database,
      user: one.user,
      node: null,
      purpose: null,
      linked: one.linked + (sum?.linked ?? 0),
      waiting: one.waiting + (sum?.waiting ?? 0),
      active: one.active + (sum?.active ?? 0),
      cancelling: one.cancelling + (sum?.cancelling ?? 0),
      idle: one.idle + (sum?.idle ?? 0),
      opening: one.opening + (sum?.opening ?? 0),
      longestWaitMs: Math.max(one.longestWaitMs, sum?.longestWaitMs ?? 0),
    });
  }
  return [...byName.values()];
}
