import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { messageOf } from '../src/core/errors.ts';
import { sleep } from '../src/core/sleep.ts';
import { atExit } from '../src/embedded/exit-cleanup.ts';
import type { UnprivilegedUser } from '../src/embedded/unprivileged-user.ts';

/** Somewhere that pgbench can be pointed at. */
export type Contender = {
  readonly name: string;
  /** What it is and how it is set up, for the report. */
  readonly description: string;
  /** Of the database that pgbench uses. */
  readonly url: string;
  /** The process whose processor time counts, with its children; null: none stands between. */
  readonly pid: number | null;
};

/** A server to stand in front of. */
export type Backend = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
};

const READY_MS = 20_000;

/** A directory that goes when the benchmark ends, whatever ends it. */
export function scratchDirectory(owner: UnprivilegedUser | null): string {
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
  if (owner !== null) chownSync(directory, owner.uid, owner.gid);
  atExit(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a proxy and waits until a statement goes through it. @throws Error with the end of its output when it does not. */
export async function startProxy(
  program: string,
  args: readonly string[],
  url: string,
  user: UnprivilegedUser | null,
): Promise<number> {
  const child = spawn(program, args, {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  atExit(() => child.kill('SIGKILL'));
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk).slice(-2000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', keep);
  const endMs = performance.now() + READY_MS;
  for (;;) {
    const problem = await ask(url, child);
    if (problem === null) return child.pid as number;
    if (performance.now() > endMs || child.exitCode !== null) {
      child.kill('SIGKILL');
      throw new Error(`${program} does not serve: ${problem}\n${output.trim()}`);
    }
    await sleep(100);
  }
}

async function ask(url: string, child: ChildProcess): Promise<string | null> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000, query_timeout: 2000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return null;
  } catch (error) {
    return child.exitCode === null ? messageOf(error) : `it ended with exit code ${child.exitCode}`;
  } finally {
    await client.end().catch(() => {});
  }
}
