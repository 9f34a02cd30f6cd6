/** PostgreSQL's own regression tests through the proxy, in transaction mode with reads on replicas. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { unprivilegedUser } from '../../src/embedded/unprivileged-user.ts';
import { startTestCluster } from '../support/cluster.ts';
import { startFairlead } from '../support/fairlead.ts';
import { needsRegressionTests } from '../support/needs.ts';
import { untilServing } from '../support/serving.ts';

/** What differs from a direct connection, each with its reason in docs/compatibility.md. */
const MAY_DIFFER = new Set(['stats', 'triggers', 'constraints', 'sequence']);
const AT_LEAST = 213;

type Run = { readonly passed: number; readonly failed: readonly string[]; readonly differences: string };

describe("PostgreSQL's regression tests", () => {
  it('give what they give on a direct connection', { skip: needsRegressionTests() }, async (t) => {
    const source = process.env.FAIRLEAD_REGRESSION as string;
    let run = await once(source);
    let unknown = run.failed.filter((name) => !MAY_DIFFER.has(name));
    if (unknown.length > 0) {
      // VACUUM may meet a snapshot that somebody, such as a reader of the catalog, holds just then: some plans follow from that
      t.diagnostic(`once more, as these differ: ${unknown.join(', ')}`);
      run = await once(source);
      const before = unknown;
      unknown = run.failed.filter((name) => before.includes(name));
    }
    t.diagnostic(`${run.passed} as on a direct connection, different: ${run.failed.join(', ')}`);
    assert.deepEqual(unknown, [], run.differences);
    assert.ok(run.passed >= AT_LEAST, run.differences);
  });
});

async function once(source: string): Promise<Run> {
  const major = readFileSync(join(source, 'major'), 'utf8').trim();
  const bin = `/usr/lib/postgresql/${major}/bin`;
  const cluster = await startTestCluster({
    pgBin: bin,
    // vacuum must see the tables alone, as the plans they expect depend on it
    settings: { hot_standby_feedback: false },
  });
  const fairlead = await startFairlead(cluster);
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-regression-'));
  try {
    await untilServing(fairlead, 2);
    cpSync(source, directory, { recursive: true });
    const log = await regress(directory, bin, new URL(fairlead.url));
    const failed = [...log.matchAll(/^(?:test|\s{5})\s*(\S+)\s+\.\.\. FAILED/gm)].map((m) => m[1] as string);
    const passed = [...log.matchAll(/^(?:test|\s{5})\s*(\S+)\s+\.\.\. ok/gm)].length;
    return { passed, failed, differences: failed.length === 0 ? log : differences(directory) };
  } finally {
    await fairlead.stop();
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs the schedule; resolves with what pg_regress prints. The servers write files into the directory. */
function regress(directory: string, bin: string, url: URL): Promise<string> {
  chmodSync(directory, 0o777);
  const files = ['--inputdir', directory, '--outputdir', directory, '--dlpath', directory, '--bindir', bin];
  const server = ['--host', url.hostname, '--port', url.port, '--user', url.username];
  const schedule = ['--schedule', join(directory, 'parallel_schedule'), '--max-concurrent-tests', '20'];
  const child = spawn(join(directory, 'pg_regress'), [...files, ...server, ...schedule], {
    cwd: directory,
    env: { ...process.env, PGPASSWORD: url.password },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(process.getuid?.() === 0 ? unprivilegedUser() : {}),
  });
  let log = '';
  child.stdout.on('data', (chunk) => (log += chunk));
  child.stderr.on('data', (chunk) => (log += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve(log));
  });
}

function differences(directory: string): string {
  return readFileSync(join(directory, 'regression.diffs'), 'utf8').slice(0, 20_000);
}
