/** How long nobody can write when the primary goes, as clients see it: a distribution for each way of going. On servers of its own. */
import { canPartition } from '../../test/chaos/partition.ts';
import { quantile } from '../measure/quantile.ts';
import { OUTAGES } from '../outage/faults.ts';
import { type OutageRun, runOutages } from '../outage/run-outages.ts';
import type { Plan } from '../plan.ts';
import { table } from '../table.ts';
import type { Section } from './section.ts';

/** What is wanted: milliseconds beyond `failover.timeout`; of a switchover, in all. */
const WANTED = { p50Ms: 500, p99Ms: 1500 };

type Row = {
  readonly fault: string;
  readonly timeoutMs: number;
  readonly waitMs: number;
  readonly runs: readonly OutageRun[];
};

export async function outage(plan: Plan, note: (line: string) => void): Promise<Section> {
  const possible = OUTAGES.filter(({ name }) => name !== 'partition' || canPartition());
  const rows: Row[] = [];
  for (const [index, timeoutMs] of plan.timeoutsMs.entries()) {
    // a switchover waits for no time-out
    const faults = possible.filter(({ unannounced }) => unannounced || index === 0);
    note(`failover.timeout ${timeoutMs} ms …`);
    const options = { timeoutMs, runs: plan.outages, pgBin: plan.pgBin };
    const runs = await runOutages(options, faults, (run) =>
      note(`${run.fault}: ${run.outageMs} ms, ${run.resumedMs} ms after it; ${run.counts.lost} lost`),
    );
    for (const { name, unannounced } of faults) {
      const own = runs.filter(({ fault }) => fault === name);
      rows.push({ fault: name, timeoutMs, waitMs: unannounced ? timeoutMs : 0, runs: own });
    }
  }
  return { title: 'Write outage', lines: linesOf(rows) };
}

function linesOf(rows: readonly Row[]): string[] {
  return [
    ...table([
      ['', 'failover.timeout, ms', 'runs', 'p50, ms', 'p99, ms', 'max, ms', 'beyond it: p50', 'p99', 'wanted', 'met'],
      ...rows.map(({ fault, timeoutMs, waitMs, runs }) => {
        const of = (q: number) => at(runs, q, ({ outageMs }) => outageMs);
        const [p50, p99] = [of(0.5) - waitMs, of(0.99) - waitMs];
        const met = p50 <= WANTED.p50Ms && (waitMs === 0 || p99 <= WANTED.p99Ms);
        const wanted = waitMs === 0 ? `${WANTED.p50Ms}` : `${WANTED.p50Ms}, ${WANTED.p99Ms}`;
        const after = waitMs === 0 ? '–' : String(timeoutMs);
        return [fault, after, runs.length, of(0.5), of(0.99), of(1), p50, p99, wanted, met ? 'yes' : '**no**'].map(
          String,
        );
      }),
    ]),
    '',
    ...table([
      ['', 'failover.timeout, ms', 'from the fault to the next write: p50', 'p99', ...COUNTS.map(({ label }) => label)],
      ...rows.map(({ fault, timeoutMs, runs }) => {
        const resumed = (q: number) => at(runs, q, ({ resumedMs }) => resumedMs);
        return [fault, timeoutMs, resumed(0.5), resumed(0.99), ...COUNTS.map(({ of }) => sum(runs, of))].map(String);
      }),
    ]),
  ];
}

const COUNTS: readonly { readonly label: string; of(run: OutageRun): number }[] = [
  { label: 'writes', of: ({ counts }) => counts.acknowledged },
  { label: 'failed', of: ({ counts }) => counts.failed },
  { label: 'outcome unknown', of: ({ counts }) => counts.unknown },
  { label: 'acknowledged and lost', of: ({ counts }) => counts.lost },
  { label: 'on no list', of: ({ counts }) => counts.unlisted },
  { label: 'read errors', of: ({ counts }) => counts.readErrors },
  { label: 'stale reads', of: ({ counts }) => counts.stale },
  { label: 'clients dropped', of: ({ counts }) => counts.drops },
];

function at(runs: readonly OutageRun[], q: number, of: (run: OutageRun) => number): number {
  return quantile(
    runs.map(of).sort((a, b) => a - b),
    q,
  );
}

function sum(runs: readonly OutageRun[], of: (run: OutageRun) => number): number {
  return runs.reduce((total, run) => total + of(run), 0);
}
