/** Words and tables for what a campaign found. */
import { availableParallelism, cpus } from 'node:os';
import { table } from '../../bench/table.ts';
import type { Round } from './campaign.ts';
import type { Counts } from './verdict.ts';

export function inWords(round: Round, mode: string): string {
  const { number, fault, notes, counts, gapMs, tookMs, violations, alone } = round;
  const what = [fault, ...notes].join('; ');
  const found =
    counts === null
      ? ''
      : ` | ${counts.failovers} failovers, ${counts.switchovers} switchovers, ${counts.acknowledged} ok, ${counts.failed} failed, ${counts.unknown} unknown ${JSON.stringify(round.codes)}, ` +
        `${counts.lost} lost (${counts.unlisted} unlisted, ${counts.orphaned} orphaned), ${counts.readErrors} read errors ${round.readErrors.slice(0, 2).join('; ')}`;
  const end = violations.length === 0 ? 'ok' : `VIOLATED: ${violations.join('; ')}`;
  return `${mode} ${number}: ${what}${found} | longest gap ${gapMs} ms, ${alone ? 'resumed alone' : 'resumed after recovery'}, took ${(tookMs / 1000).toFixed(1)} s | ${end}`;
}

const ROWS: readonly { readonly label: string; text(rounds: readonly Round[]): string }[] = [
  { label: 'rounds', text: (rounds) => String(rounds.length) },
  counted('failovers', ({ failovers }) => failovers),
  counted('switchovers', ({ switchovers }) => switchovers),
  counted('writes acknowledged', ({ acknowledged }) => acknowledged),
  counted('writes failed, certainly', ({ failed }) => failed),
  counted('writes of unknown outcome', ({ unknown }) => unknown),
  counted('acknowledged writes lost', ({ lost }) => lost),
  counted('of these on no list', ({ unlisted }) => unlisted),
  counted('of these acknowledged by a Fairlead that was killed too', ({ orphaned }) => orphaned),
  counted('failed writes that are there', ({ ghosts }) => ghosts),
  counted('writes that are there twice', ({ duplicates }) => duplicates),
  counted('two servers acknowledging in turn', ({ twoWriters }) => twoWriters),
  { label: 'reads', text: (rounds) => String(sum(rounds.map(({ reads }) => reads))) },
  counted('stale reads', ({ stale }) => stale),
  counted('reads that failed', ({ readErrors }) => readErrors),
  counted('client connections dropped', ({ drops }) => drops),
  {
    label: 'longest time that two servers were open to direct writes, ms',
    text: (rounds) => String(Math.max(0, ...rounds.map(({ counts }) => counts?.overlapMs ?? 0))),
  },
  {
    label: 'rounds with a violation',
    text: (rounds) => String(rounds.filter(({ violations }) => violations.length > 0).length),
  },
];

/** What docs/chaos.md shows. */
export function summary(
  results: readonly { readonly mode: string; readonly rounds: readonly Round[] }[],
  { seed, version }: { readonly seed: number; readonly version: string },
): string[] {
  const today = new Date().toISOString().slice(0, 10);
  return [
    `${today}; ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores; Node ${process.version}, PostgreSQL ${version}; seed ${seed}.`,
    '',
    ...table([
      ['', ...results.map(({ mode }) => mode)],
      ...ROWS.map(({ label, text }) => [label, ...results.map(({ rounds }) => text(rounds))]),
    ]),
  ];
}

function counted(label: string, of: (counts: Counts) => number) {
  const text = (rounds: readonly Round[]) =>
    String(sum(rounds.map(({ counts }) => (counts === null ? 0 : of(counts)))));
  return { label, text };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
