/**
 * Reads behind writes, while replicas are healthy, late, and far behind because of a bulk load: how many are stale, how many replicas answer, and how long
 * they take. On servers of its own, with one contender at a time.
 */
import type { Stage } from '../contender/contender.ts';
import type { ReadKind } from '../load/job.ts';
import { UNTOUCHED_ROWS } from '../load/sessions.ts';
import { raiseFileLimit } from '../measure/file-limit.ts';
import type { Plan } from '../plan.ts';
import { startStage } from '../stage.ts';
import { BARS, percent, type Reads, readsOf } from '../staleness/bars.ts';
import { BULK_RATE } from '../staleness/bulk-load.ts';
import { type Entrant, entrantsOf, FAIRLEAD } from '../staleness/entrants.ts';
import { onEach, untilCaughtUp } from '../staleness/replay-delay.ts';
import { DELAY_MS, type Measured, measureScenes, SCENES, type SceneName } from '../staleness/scenes.ts';
import { digits, NONE, table } from '../table.ts';
import { failuresOf, type Outcomes, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

const FILES = 8192;

const KINDS: readonly { readonly kind: ReadKind; readonly what: string }[] = [
  { kind: 'own', what: 'its own row, just written' },
  { kind: 'others', what: 'a row that another session writes' },
  { kind: 'untouched-by-writer', what: 'the untouched table, after a write elsewhere' },
  { kind: 'untouched', what: 'the untouched table, by a session that only reads' },
];

const MEASURES: readonly { readonly label: string; text(reads: Reads): string }[] = [
  { label: 'reads', text: ({ count }) => String(count) },
  { label: 'stale', text: ({ stale, count }) => (stale === 0 ? '0' : `${stale} (${percent(stale, count)} %)`) },
  { label: 'on replicas, %', text: ({ onReplicas, count }) => percent(onReplicas, count) },
  { label: 'p50, ms', text: ({ p50Ms }) => digits(p50Ms) },
  { label: 'p99, ms', text: ({ p99Ms }) => digits(p99Ms) },
];

type Turn = { readonly description: string; readonly measured: Measured };

export async function staleness(plan: Plan, note: (line: string) => void): Promise<Section> {
  const entrants = entrantsOf(plan.contenders);
  const only = { ...plan, clients: [plan.sessions], reconnecting: [], writers: [], idleClients: 0, connects: 0 };
  const stage = await startStage(only, raiseFileLimit(FILES));
  try {
    await makeTables(stage, plan.sessions);
    const outcomes = await takeTurns(plan.rounds, entrants, async ({ name, start }): Promise<Turn> => {
      note(`${name} …`);
      const contender = await start(stage);
      try {
        return { description: contender.description, measured: await measureScenes(contender, stage, plan, note) };
      } finally {
        await contender.stop();
      }
    });
    return { title: 'Staleness', lines: linesOf(outcomes, stage, plan) };
  } finally {
    await stage.stop();
  }
}

async function makeTables(stage: Stage, sessions: number): Promise<void> {
  await onEach([stage.primary], async (client) => {
    await client.query(`
      CREATE TABLE session_rows (id int PRIMARY KEY, v bigint NOT NULL);
      INSERT INTO session_rows SELECT i, 0 FROM generate_series(0, ${sessions - 1}) i;
      CREATE TABLE untouched (id int PRIMARY KEY, v bigint NOT NULL);
      INSERT INTO untouched SELECT i, i FROM generate_series(0, ${UNTOUCHED_ROWS - 1}) i;
      CREATE TABLE bulk (id int, filler text)`);
    await client.query('VACUUM ANALYZE session_rows, untouched');
  });
  await untilCaughtUp(stage);
}

function linesOf(outcomes: Outcomes<Turn, Entrant>, stage: Stage, plan: Plan): string[] {
  const rounds = new Map(
    [...outcomes].map(([{ name }, { results, failure }]) => [
      name,
      failure === null ? results.map(({ measured }) => measured) : null,
    ]),
  );
  const reads = (name: string, scene: SceneName, kinds: readonly ReadKind[]) => {
    const of = rounds.get(name) ?? null;
    return of === null ? null : readsOf(of, scene, kinds, stage.primary.port);
  };
  const titles: Readonly<Record<SceneName, string>> = {
    healthy: 'Replicas healthy',
    delayed: `Replicas ${DELAY_MS} ms behind`,
    bulk: `Bulk load into another table (${BULK_RATE}), replicas ${plan.bulkDelayMs / 1000} s behind`,
  };
  const names = [...rounds.keys()];
  const writers = Math.ceil(plan.sessions / 2);
  return [
    ...[...outcomes].flatMap(([{ name }, { results }]) =>
      results.length === 0 ? [] : [`* ${name}: ${results[0]?.description}`],
    ),
    '',
    `${plan.rounds} runs of ${plan.pacedSeconds} s; ${writers} sessions that write and read, ${plan.sessions - writers} that only read:`,
    '',
    ...barTable(names, reads),
    '',
    ...SCENES.flatMap((scene) => [
      `${titles[scene]}:`,
      '',
      ...table([
        ['read', '', ...names],
        ...KINDS.flatMap(({ kind, what }) => {
          const ofAll = names.map((name) => reads(name, scene, [kind]));
          return MEASURES.map(({ label, text }) => [what, label, ...ofAll.map((one) => textOf(one, text))]);
        }),
      ]),
      '',
    ]),
    ...failuresOf(outcomes, 'staleness'),
  ];
}

function barTable(
  names: readonly string[],
  reads: (name: string, scene: SceneName, kinds: readonly ReadKind[]) => Reads | null,
): string[] {
  const rows = BARS.map(({ what, wanted, result }) => {
    const results = names.map((name) => {
      if (reads(name, 'healthy', []) === null) return null;
      return result((scene, kinds) => reads(name, scene, kinds) as Reads);
    });
    const fairlead = results[names.indexOf(FAIRLEAD)] ?? null;
    const met = fairlead === null ? NONE : fairlead.met ? 'yes' : '**no**';
    return [what, wanted, ...results.map((one) => one?.text ?? NONE), met];
  });
  return table([['', 'wanted', ...names, `met by ${FAIRLEAD}`], ...rows]);
}

function textOf(reads: Reads | null, text: (reads: Reads) => string): string {
  return reads === null || reads.count === 0 ? NONE : text(reads);
}
