import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { messageOf } from '../../src/core/errors.ts';
import { sleep } from '../../src/core/sleep.ts';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import type { UnprivilegedUser } from '../../src/embedded/unprivileged-user.ts';

const READY_MS = 20_000;
const STOP_MS = 3000;

export type ProxyProcess = { readonly pid: number; stop(): Promise<void> };

/** A directory that goes when the benchmark ends, whatever ends it. */
export function scratchDirectory(owner: UnprivilegedUser | null): string {
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
  if (owner !== null) chownSync(directory, owner.uid, owner.gid);
  atExit(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A file that only its owner can read. */
export function writeOwned(file: string, text: string, owner: UnprivilegedUser | null): void {
  writeFileSync(file, text, { mode: 0o600 });
  if (owner !== null) chownSync(file, owner.uid, owner.gid);
}

/** Starts a proxy and waits until a statement goes through it. @throws Error with the end of its output when it does not. */
export async function startProxy(
  program: string,
  args: readonly string[],
  url: string,
  user: UnprivilegedUser | null,
): Promise<ProxyProcess> {
  const child = spawn(program, args, {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    // a process group of its own: one that has children is ended with all of them
    detached: true,
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const forget = atExit(() => killGroup(child));
  let output = '';
  const keep = (chunk: unknown) => {
    output = (output + chunk).slice(-2000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', keep);
  const stop = async () => {
    child.kill('SIGTERM');
    await Promise.race([closed, sleep(STOP_MS)]);
    killGroup(child);
    await Promise.race([closed, sleep(STOP_MS)]);
    forget();
  };
  const endMs = performance.now() + READY_MS;
  for (;;) {
    const problem = await ask(url, child);
    if (problem === null) return { pid: child.pid as number, stop };
    if (performance.now() > endMs || child.exitCode !== null) {
      await stop();
      throw new Error(`${program} does not serve: ${problem}\n${output.trim()}`);
    }
    await sleep(100);
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // nobody is left of it
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
