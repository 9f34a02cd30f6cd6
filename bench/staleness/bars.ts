import { READS, type ReadKind, type ReadTally } from '../load/job.ts';
import { quantile } from '../measure/quantile.ts';
import { digits, NONE } from '../table.ts';
import { type Measured, SCENES, type SceneName } from './scenes.ts';

/** Reads of one kind in one scene, over all rounds. */
export type Reads = {
  readonly count: number;
  readonly stale: number;
  readonly onReplicas: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export function readsOf(
  rounds: readonly Measured[],
  scene: SceneName,
  kinds: readonly ReadKind[],
  primaryPort: number,
): Reads {
  const tallies: readonly ReadTally[] = rounds.flatMap((round) => kinds.map((kind) => round[scene][kind]));
  const latenciesMs = tallies.flatMap((tally) => tally.latenciesMs).sort((a, b) => a - b);
  const sum = (of: (tally: ReadTally) => number) => tallies.reduce((total, tally) => total + of(tally), 0);
  return {
    count: latenciesMs.length,
    stale: sum(({ stale }) => stale),
    onReplicas: latenciesMs.length - sum(({ byPort }) => byPort[primaryPort] ?? 0),
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  };
}

export function percent(part: number, whole: number): string {
  if (whole === 0) return NONE;
  const share = (100 * part) / whole;
  // neither is all of them nor none, however many there are
  if (part !== whole && share > 99.9) return '> 99.9';
  return part !== 0 && share < 0.1 ? '< 0.1' : share.toFixed(share === 0 || share === 100 ? 0 : 1);
}

/** What Fairlead is held to. */
export type Bar = {
  readonly what: string;
  readonly wanted: string;
  result(reads: (scene: SceneName, kinds: readonly ReadKind[]) => Reads): {
    readonly text: string;
    readonly met: boolean;
  };
};

const MOST_TIMES = 1.2;

export const BARS: readonly Bar[] = [
  {
    what: 'stale reads, in all scenes',
    wanted: '0',
    result: (reads) => {
      const stale = SCENES.reduce((sum, scene) => sum + reads(scene, READS).stale, 0);
      return { text: String(stale), met: stale === 0 };
    },
  },
  {
    what: 'healthy: reads on replicas',
    wanted: 'at least 95 %',
    result: (reads) => {
      const { onReplicas, count } = reads('healthy', READS);
      return { text: `${percent(onReplicas, count)} %`, met: onReplicas >= 0.95 * count && count > 0 };
    },
  },
  ...(
    [
      ['untouched', 'by sessions that only read'],
      ['untouched-by-writer', 'by sessions that write elsewhere'],
    ] as const
  ).flatMap(([kind, who]): Bar[] => [
    {
      what: `bulk load: reads of the untouched table ${who}, on replicas`,
      wanted: '100 %',
      result: (reads) => {
        const { onReplicas, count } = reads('bulk', [kind]);
        return { text: `${percent(onReplicas, count)} %`, met: onReplicas === count && count > 0 };
      },
    },
    {
      what: 'their p99, as a multiple of that when healthy',
      wanted: `at most ${MOST_TIMES}`,
      result: (reads) => {
        const times = reads('bulk', [kind]).p99Ms / reads('healthy', [kind]).p99Ms;
        return { text: digits(times), met: times <= MOST_TIMES };
      },
    },
  ]),
];
