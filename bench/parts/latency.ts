/**
 * Latency of requests that come at times of their own (an open loop): one that comes while others wait is counted from when it was due.
 * Alone, and beside one session with a slow statement.
 */
import { type ComparedRow, comparison } from '../comparison.ts';
import type { Contender } from '../contender/contender.ts';
import { requireRoom } from '../contender/room.ts';
import type { PacedRun } from '../measure/pgbench.ts';
import { quantile } from '../measure/quantile.ts';
import type { Scene } from '../scene.ts';
import { digits } from '../table.ts';
import { failuresOf, meanOf, type Outcomes, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

/** Connections that requests go out on; who finds none free waits, and that counts. */
const CLIENTS = 64;

const NEIGHBOURS: readonly { readonly name: string; readonly statement: string | null }[] = [
  { name: 'alone', statement: null },
  { name: 'beside `pg_sleep(1)`', statement: 'SELECT pg_sleep(1)' },
  {
    name: 'beside `count(*)` of 5,000,000',
    statement: 'SELECT count(*) FROM generate_series(1, 5000000)',
  },
];

const SHARES = { p50: 0.5, p95: 0.95, p99: 0.99, 'p99.9': 0.999 } as const;

export async function latency(scene: Scene): Promise<Section> {
  const { contenders, pgbench, plan, note } = scene;
  const rate = plan.rate ?? Math.round((await peakOf(scene)) / 2);
  const rows: ComparedRow[] = [];
  const failures: string[] = [];
  for (const { name, statement } of NEIGHBOURS) {
    const outcomes = await takeTurns(plan.rounds, contenders, async (contender) => {
      requireRoom(contender, CLIENTS + 1);
      const { url } = contender;
      // as long as the quick ones with their logins; it goes on until its last statement has ended, and is waited for
      const seconds = pgbench.lengthOf(url, CLIENTS, plan.pacedSeconds);
      const beside = statement === null ? null : pgbench.repeat(url, statement, seconds);
      // it is awaited below; until then a failure of it has no other handler
      beside?.catch(() => {});
      try {
        return sorted(await pgbench.pace(url, CLIENTS, rate, plan.pacedSeconds));
      } finally {
        await beside;
      }
    });
    rows.push(...rowsOf(name, outcomes));
    failures.push(...failuresOf(outcomes, name));
    const p99 = (contender: Contender) => digits(meanOf(outcomes.get(contender), (run) => msAt(run, SHARES.p99)));
    note(`${name}, p99 in ms: ${contenders.map((contender) => `${contender.name} ${p99(contender)}`).join(', ')}`);
  }
  const lines = [
    `${plan.rounds} runs of ${plan.pacedSeconds} s; ${rate} SELECTs by primary key per second, due at random times, over ${CLIENTS} connections; ms from when one was due:`,
    '',
    ...comparison(['neighbour', ''], contenders, rows),
    '',
    ...failures,
  ];
  return { title: 'Latency at a fixed rate', lines };
}

/** Transactions per second of the direct connection, at the best number of clients. */
async function peakOf({ contenders, pgbench, plan, note }: Scene): Promise<number> {
  let peak = 0;
  for (const clients of [8, 32]) {
    const workload = { script: 'select-only', protocol: 'simple', clients, reconnect: false } as const;
    peak = Math.max(peak, (await pgbench.measure(contenders[0] as Contender, workload, plan.seconds)).tps);
  }
  note(`the direct connection does ${Math.round(peak)} a second at most`);
  return peak;
}

function sorted({ tps, latenciesUs }: PacedRun): PacedRun {
  return { tps, latenciesUs: [...latenciesUs].sort((a, b) => a - b) };
}

function msAt({ latenciesUs }: PacedRun, share: number): number {
  return quantile(latenciesUs, share) / 1000;
}

function rowsOf(neighbour: string, outcomes: Outcomes<PacedRun>): ComparedRow[] {
  const row = (label: string, of: (run: PacedRun) => number): ComparedRow => {
    const value = (contender: Contender) => meanOf(outcomes.get(contender), of);
    return { labels: [neighbour, label], value, text: (contender) => digits(value(contender)) };
  };
  const shares = Object.entries(SHARES).map(([label, share]) => row(label, (run) => msAt(run, share)));
  // who cannot keep the rate leaves requests that never ran: its quantiles are too good
  return [...shares, row('answered per second', ({ tps }) => Math.round(tps))];
}
