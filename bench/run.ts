/**
 * Compares the ways to a server on this machine: direct, Fairlead, PgBouncer, HAProxy, pgpool-II. Installs nothing, takes what it finds,
 * and removes what it makes. Tables go to stdout, what happens to stderr. docs/benchmarks.md
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { messageOf } from '../src/core/errors.ts';
import { connects } from './parts/connects.ts';
import { latency } from './parts/latency.ts';
import { memory } from './parts/memory.ts';
import { micro } from './parts/micro.ts';
import { outage } from './parts/outage.ts';
import { relay } from './parts/relay.ts';
import type { Section } from './parts/section.ts';
import { staleness } from './parts/staleness.ts';
import { throughput } from './parts/throughput.ts';
import { type Part, type Plan, planFrom } from './plan.ts';
import { openScene, type Scene } from './scene.ts';

/** Before servers and contenders that all of these have in common. */
const IN_SCENE = {
  throughput,
  latency,
  connects,
  memory,
  relay,
} as const satisfies Partial<Record<Part, (scene: Scene) => Promise<Section>>>;

/** When those are gone. */
const ALONE: Readonly<Record<Exclude<Part, keyof typeof IN_SCENE>, (plan: Plan) => Promise<Section>>> = {
  staleness: (plan) => staleness(plan, note),
  outage: (plan) => outage(plan, note),
  micro,
};

const note = (line: string) => process.stderr.write(`${line}\n`);
const print = (...lines: readonly string[]) => process.stdout.write(`${lines.join('\n')}\n`);

try {
  await run();
} catch (error) {
  note(messageOf(error));
  process.exitCode = 1;
}
// what was started ends in the exit handlers
process.exit();

async function run(): Promise<void> {
  const plan = planFrom(process.argv.slice(2));
  print(`${new Date().toISOString().slice(0, 10)}; ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores.`);
  const inScene = plan.parts.filter((part) => part in IN_SCENE) as (keyof typeof IN_SCENE)[];
  if (inScene.length > 0) await runInScene(plan, inScene);
  for (const part of plan.parts) {
    if (!(part in IN_SCENE)) await show(part, () => ALONE[part as keyof typeof ALONE](plan));
  }
  print('', `Load average at the end: ${loadavg()[0]?.toFixed(1)}.`);
}

async function runInScene(plan: Plan, parts: readonly (keyof typeof IN_SCENE)[]): Promise<void> {
  const scene = await openScene(plan, note);
  try {
    print(...scene.description);
    for (const part of parts) await show(part, () => IN_SCENE[part](scene));
  } finally {
    await scene.close();
  }
}

/** A part that fails leaves the others. */
async function show(part: Part, measure: () => Promise<Section>): Promise<void> {
  note(`${part} …`);
  try {
    const { title, lines } = await measure();
    print('', `### ${title}`, '', ...lines.slice(0, lines.findLastIndex((line) => line !== '') + 1));
  } catch (error) {
    print('', `### ${part}`, '', `Failed: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}
