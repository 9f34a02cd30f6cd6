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
import { relay } from './parts/relay.ts';
import type { Section } from './parts/section.ts';
import { throughput } from './parts/throughput.ts';
import { type Part, planFrom } from './plan.ts';
import { openScene, type Scene } from './scene.ts';

const MEASURES: Readonly<Record<Exclude<Part, 'micro'>, (scene: Scene) => Promise<Section>>> = {
  throughput,
  latency,
  connects,
  memory,
  relay,
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
  const parts = plan.parts.filter((part) => part !== 'micro');
  const scene = parts.length === 0 ? null : await openScene(plan, note);
  try {
    print(`${new Date().toISOString().slice(0, 10)}; ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores.`);
    if (scene !== null) print(...scene.description);
    for (const part of parts) await show(part, () => MEASURES[part](scene as Scene));
    if (plan.parts.includes('micro')) await show('micro', () => micro(plan));
    print('', `Load average at the end: ${loadavg()[0]?.toFixed(1)}.`);
  } finally {
    await scene?.close();
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
