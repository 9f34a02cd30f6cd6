/**
 * Runs every test: `npm test`, or `npm test -- NAME …` for the files whose path contains one of the names. Unit tests come
 * first. Prints a line per file, failures in full and every skipped test with its reason; the last line is the sum.
 */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { inspect } from 'node:util';
import { removeAbandonedClusters } from '../src/embedded/cluster-directory.ts';
import { CANNOT } from './support/needs.ts';
import { removeAbandonedNetworks } from './support/private-network.ts';
import { removeAbandonedDisks } from './support/small-disk.ts';

type Failure = { readonly path: string; readonly error: unknown };
type Skip = { readonly path: string; readonly reason: string };
type FileResult = {
  readonly file: string;
  readonly passed: number;
  readonly failures: readonly Failure[];
  readonly skips: readonly Skip[];
  readonly output: string;
  readonly elapsedMs: number;
};

/** What node:test says about one test; its own types leave out half of it. */
type TestEvent = {
  readonly name: string;
  readonly nesting: number;
  readonly skip?: string | boolean;
  readonly todo?: string | boolean;
  readonly details: { readonly type?: string; readonly error?: { failureType?: string; cause?: unknown } };
};

/** Asked to end: the files under way are ended too, and remove what they started. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopping.abort());

const HERE = import.meta.dirname;
/** A whole file: a test that hangs, or a handle that keeps its process alive, ends there. */
const UNIT_TIMEOUT_MS = 60_000;
const INTEGRATION_TIMEOUT_MS = 480_000;

function filesOf(folder: string, filters: readonly string[]): string[] {
  let entries: string[];
  try {
    entries = readdirSync(join(HERE, folder), { recursive: true }) as string[];
  } catch {
    return [];
  }
  return entries
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(HERE, folder, name))
    .filter((file) => filters.length === 0 || filters.some((filter) => relative(HERE, file).includes(filter)))
    .sort();
}

async function runFile(file: string, timeoutMs: number): Promise<FileResult> {
  const startedMs = performance.now();
  let passed = 0;
  let output = '';
  const failures: Failure[] = [];
  const skips: Skip[] = [];
  const path: string[] = [];
  const named = (event: TestEvent) => [...path.slice(0, event.nesting), event.name].join(' › ');
  const stream = run({ files: [file], timeout: timeoutMs, concurrency: 1, signal: stopping.signal });
  stream.on('test:start', (event) => {
    path[event.nesting] = event.name;
  });
  stream.on('test:pass', (event: TestEvent) => {
    const skipped = event.skip ?? event.todo ?? false;
    if (skipped === false) passed += event.details.type === 'suite' ? 0 : 1;
    else
      skips.push({ path: named(event), reason: typeof skipped === 'string' && skipped !== '' ? skipped : 'no reason' });
  });
  stream.on('test:fail', (event: TestEvent) => {
    // a suite or a parent that only fails because of what it holds says nothing new
    if (event.details.error?.failureType === 'subtestsFailed') return;
    failures.push({ path: named(event), error: event.details.error?.cause ?? event.details.error });
  });
  stream.on('test:stdout', (event) => {
    output += event.message;
  });
  stream.on('test:stderr', (event) => {
    output += event.message;
  });
  // the stream ends when the file's process has ended
  for await (const _ of stream);
  if (passed + failures.length + skips.length === 0) failures.push({ path: 'file', error: 'it holds no test' });
  return { file: relative(HERE, file), passed, failures, skips, output, elapsedMs: performance.now() - startedMs };
}

function report(result: FileResult): void {
  const { file, passed, failures, skips, output, elapsedMs } = result;
  const counts = [`${passed} passed`];
  if (failures.length > 0) counts.push(`${failures.length} FAILED`);
  if (skips.length > 0) counts.push(`${skips.length} skipped`);
  const lines = [
    `${failures.length > 0 ? '✗' : '✓'} ${file}: ${counts.join(', ')} (${(elapsedMs / 1000).toFixed(1)} s)`,
  ];
  for (const skip of skips) lines.push(`  skipped: ${skip.path}: ${skip.reason}`);
  for (const { path, error } of failures) {
    const text = typeof error === 'string' ? error : inspect(error, { depth: 5, breakLength: 120 });
    lines.push(`  FAILED: ${path}`, ...text.split('\n').map((line) => `    ${line}`));
  }
  if (failures.length > 0 && output.trim() !== '') {
    lines.push(
      '  its output:',
      ...output
        .trimEnd()
        .split('\n')
        .map((line) => `    ${line}`),
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function runAll(files: readonly string[], timeoutMs: number, atOnce: number): Promise<FileResult[]> {
  const waiting = [...files];
  const results: FileResult[] = [];
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined && !stopping.signal.aborted; file = waiting.shift()) {
      const result = forbidSkips(await runFile(file, timeoutMs));
      report(result);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

/** On the build machine, which has everything, a test may only be skipped for what no machine of its kind can do. */
function forbidSkips(result: FileResult): FileResult {
  if (process.env.CI !== 'true') return result;
  const allowed = result.skips.filter((skip) => skip.reason.startsWith(CANNOT));
  const forbidden = result.skips.filter((skip) => !allowed.includes(skip));
  const failures = forbidden.map(({ path, reason }) => ({ path, error: `skipped although CI=true: ${reason}` }));
  return { ...result, skips: allowed, failures: [...result.failures, ...failures] };
}

const filters = process.argv.slice(2);
const unit = filesOf('unit', filters);
const integration = filesOf('integration', filters);
const results = [
  ...(await runAll(unit, UNIT_TIMEOUT_MS, 2)),
  // clusters wait more than they compute: two at once, where there are two processors
  ...(await runAll(integration, INTEGRATION_TIMEOUT_MS, Math.min(2, availableParallelism()))),
];
// what a test file that was killed left behind
for (const left of [...removeAbandonedClusters(), ...removeAbandonedNetworks(), ...removeAbandonedDisks()])
  process.stdout.write(`removed ${left} of a test that was killed\n`);

const sum = (count: (result: FileResult) => number) => results.reduce((total, result) => total + count(result), 0);
const failed = sum((result) => result.failures.length) + (results.length === 0 || stopping.signal.aborted ? 1 : 0);
const skipped = sum((result) => result.skips.length);
if (results.length === 0) process.stdout.write(`no test file matches ${filters.join(' ')}\n`);
process.stdout.write(
  `${sum((result) => result.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`,
);
process.exitCode = failed > 0 ? 1 : 0;
