/** Thousands of clients connect at once: when has the last one its first answer? For those who pool. */

import { sleep } from '../../src/core/sleep.ts';
import { type ComparedRow, comparison } from '../comparison.ts';
import type { Contender } from '../contender/contender.ts';
import { requireRoom } from '../contender/room.ts';
import type { BurstResult } from '../load/job.ts';
import { runLoad, targetOf } from '../load/load-process.ts';
import { familyOf, processorTimeOf } from '../measure/processor-time.ts';
import type { Scene } from '../scene.ts';
import { digits } from '../table.ts';
import { failuresOf, meanOf, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

type Burst = BurstResult & {
  /** Of the proxy, until the last answer, ms. */
  readonly proxyMs: number;
};

const MOST_MS = 120_000;
/** A proxy forgets thousands of clients that have left before anybody has the next turn. */
const PAUSE_MS = 1000;

export async function connects({ contenders, plan, note }: Scene): Promise<Section> {
  const poolers = contenders.filter(({ name }) => name === 'Fairlead' || name === 'PgBouncer');
  const outcomes = await takeTurns(plan.rounds, poolers, async (contender): Promise<Burst> => {
    requireRoom(contender, plan.connects);
    const family = familyOf(contender.pid as number);
    const before = processorTimeOf(family);
    const result = await runLoad({ kind: 'burst', target: targetOf(contender.url), clients: plan.connects }, MOST_MS);
    const after = processorTimeOf(family);
    await sleep(PAUSE_MS);
    return { ...result, proxyMs: (after.user + after.kernel - before.user - before.kernel) / 1000 };
  });
  const row = (label: string, of: (burst: Burst) => number): ComparedRow => {
    const value = (contender: Contender) => meanOf(outcomes.get(contender), of);
    return { labels: [label], value, text: (contender) => digits(value(contender)) };
  };
  const rows = [
    row('until half have their answer, ms', ({ medianMs }) => medianMs),
    row('until 99 % have it, ms', ({ p99Ms }) => p99Ms),
    row('until all have it, ms', ({ totalMs }) => totalMs),
    row('processor time of the proxy, ms', ({ proxyMs }) => proxyMs),
    row('processor time of the clients, ms', ({ ownMs }) => ownMs),
  ];
  note(poolers.map((c) => `${c.name} ${digits(meanOf(outcomes.get(c), ({ totalMs }) => totalMs))} ms`).join(', '));
  const lines = [
    `${plan.connects} clients connect at once, log in and ask \`SELECT 1\`; ${plan.rounds} times:`,
    '',
    ...comparison([''], poolers, rows),
    '',
    ...failuresOf(outcomes, `${plan.connects} clients`),
  ];
  return { title: 'Simultaneous connects', lines };
}
