/** MB per second of what is larger than any buffer. */
import pg from 'pg';
import { type ComparedRow, comparison } from '../comparison.ts';
import { type Contender, urlOf } from '../contender/contender.ts';
import type { Job, Target } from '../load/job.ts';
import { runLoad, targetOf } from '../load/load-process.ts';
import { familyOf, processorTimeOf } from '../measure/processor-time.ts';
import type { Plan } from '../plan.ts';
import type { Scene } from '../scene.ts';
import { digits, NONE } from '../table.ts';
import { failuresOf, meanOf, type Outcomes, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

type Relayed = {
  readonly mbPerSecond: number;
  /** Of the proxy, ms for 100 MB; null: nobody stands between. */
  readonly processorMs: number | null;
};

const MOST_MS = 120_000;

export async function relay({ contenders, stage, plan, note }: Scene): Promise<Section> {
  await makeSink(urlOf(stage.primary));
  const measured: { readonly name: string; readonly outcomes: Outcomes<Relayed> }[] = [];
  for (const { name, jobFor } of transfersOf(plan)) {
    const outcomes = await takeTurns(plan.rounds, contenders, async ({ url, pid }): Promise<Relayed> => {
      const family = pid === null ? [] : familyOf(pid);
      const before = processorTimeOf(family);
      const { bytes, ms } = await runLoad(jobFor(targetOf(url)), MOST_MS);
      const after = processorTimeOf(family);
      const spentMs = (after.user + after.kernel - before.user - before.kernel) / 1000;
      return { mbPerSecond: bytes / 1000 / ms, processorMs: pid === null ? null : spentMs / (bytes / 1e8) };
    });
    note(
      `${name}: ${[...outcomes].map(([c, o]) => `${c.name} ${Math.round(meanOf(o, rateOf) ?? 0)}`).join(', ')} MB/s`,
    );
    measured.push({ name, outcomes });
  }
  const rows = (of: (relayed: Relayed) => number | null) =>
    measured.map(({ name, outcomes }): ComparedRow => {
      const value = (contender: Contender) => meanOf(outcomes.get(contender), of);
      return { labels: [name], value, text: (contender) => textOf(value(contender)) };
    });
  const proxies = contenders.filter(({ pid }) => pid !== null);
  const lines = [
    `${plan.relayMb} MB in rows of 1000 bytes, ${plan.rounds} times, one client; MB/s:`,
    '',
    ...comparison(['what'], contenders, rows(rateOf)),
    '',
    'Processor time of the proxy for 100 MB, ms:',
    '',
    ...comparison(
      ['what'],
      proxies,
      rows(({ processorMs }) => processorMs),
    ),
    '',
    ...measured.flatMap(({ name, outcomes }) => failuresOf(outcomes, name)),
  ];
  return { title: 'Large results and COPY', lines };
}

type Transfer = { readonly name: string; jobFor(target: Target): Extract<Job, { kind: 'receive' | 'send' }> };

function transfersOf({ relayMb }: Plan): readonly Transfer[] {
  const select = `SELECT repeat('x', 1000) FROM generate_series(1, ${relayMb * 1000})`;
  // the server reads the lines and drops them: what it would cost to store them is not the question
  const sink = `COPY ${SINK} FROM STDIN WHERE false`;
  return [
    { name: 'SELECT', jobFor: (target) => ({ kind: 'receive', target, statement: select }) },
    {
      name: 'COPY TO STDOUT',
      jobFor: (target) => ({ kind: 'receive', target, statement: `COPY (${select}) TO STDOUT` }),
    },
    { name: 'COPY FROM STDIN', jobFor: (target) => ({ kind: 'send', target, statement: sink, bytes: relayMb * 1e6 }) },
  ];
}

const SINK = 'bench_sink';

async function makeSink(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`CREATE TABLE IF NOT EXISTS ${SINK} (line text)`);
  } finally {
    await client.end();
  }
}

function rateOf({ mbPerSecond }: Relayed): number {
  return mbPerSecond;
}

function textOf(value: number | null): string {
  return value === null ? NONE : value < 10 ? digits(value) : String(Math.round(value));
}
