/** Resident memory of a proxy for each client that is logged in, has asked something and is idle. For those who pool. */
import { type ComparedRow, comparison } from '../comparison.ts';
import type { Contender } from '../contender/contender.ts';
import { startFairlead } from '../contender/fairlead.ts';
import { startPgbouncer } from '../contender/pgbouncer.ts';
import { requireRoom } from '../contender/room.ts';
import { startLoad, targetOf } from '../load/load-process.ts';
import { settledMemoryOf } from '../measure/resident-memory.ts';
import type { Scene } from '../scene.ts';
import { digits } from '../table.ts';
import { failuresOf, meanOf, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

type Memory = { readonly before: number; readonly after: number };

/** Logins that are under way at a time. */
const AT_ONCE = 32;
/** What a proxy makes at its first clients is there before the first reading: pool, caches, compiled code. */
const FIRST_CLIENTS = 100;
const MOST_MS = 300_000;
const SETTLE_MS = 30_000;

export async function memory({ contenders, plan, stage, note }: Scene): Promise<Section> {
  // fresh ones: what the other parts left behind would be filled first
  const fresh: Contender[] = [await startFairlead(stage)];
  const pgbouncer = await startPgbouncer(stage);
  if (pgbouncer !== null) fresh.push(pgbouncer);
  try {
    const outcomes = await takeTurns(1, fresh, (contender) => measure(contender, plan.idleClients));
    const row = (label: string, of: (memory: Memory) => number): ComparedRow => {
      const value = (contender: Contender) => meanOf(outcomes.get(contender), of);
      return { labels: [label], value, text: (contender) => digits(value(contender)) };
    };
    const rows = [
      row('bytes per client', ({ before, after }) => Math.round((after - before) / plan.idleClients)),
      row('MB before', ({ before }) => before / 1e6),
      row('MB with all clients', ({ after }) => after / 1e6),
    ];
    note(fresh.map((contender) => `${contender.name} ${rows[0]?.text(contender)}`).join(', '));
    const exempt = contenders.filter(({ name, pid }) => pid !== null && (name === 'HAProxy' || name === 'pgpool-II'));
    const lines = [
      `${plan.idleClients} clients, each logged in and idle after \`SELECT 1\`:`,
      '',
      ...comparison([''], fresh, rows),
      '',
      ...failuresOf(outcomes, `${plan.idleClients} clients`),
      ...exempt.map(({ name, limitedBy }) => `* not ${name}: ${limitedBy}`),
    ];
    return { title: 'Memory per idle client', lines };
  } finally {
    await Promise.all(fresh.map((contender) => contender.stop()));
  }
}

async function measure(contender: Contender, clients: number): Promise<Memory> {
  requireRoom(contender, clients);
  const pid = contender.pid as number;
  const target = targetOf(contender.url);
  const first = await startLoad({ kind: 'hold', target, clients: FIRST_CLIENTS, atOnce: AT_ONCE }, MOST_MS);
  await first.end();
  const before = await settledMemoryOf(pid, SETTLE_MS);
  const all = await startLoad({ kind: 'hold', target, clients, atOnce: AT_ONCE }, MOST_MS);
  try {
    return { before, after: await settledMemoryOf(pid, SETTLE_MS) };
  } finally {
    await all.end();
  }
}
