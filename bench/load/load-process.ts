import { fork } from 'node:child_process';
import { join } from 'node:path';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import type { Answer, Job, Result, Target } from './job.ts';

const MAIN = join(import.meta.dirname, 'load-main.js');

/** What a load process was asked for, and how to end it. */
export type Load<K extends Job['kind']> = { readonly result: Result[K]; end(): Promise<void> };

/**
 * Has a job done in a process of its own. Its clients stay connected until `end`.
 * @throws Error when it fails or takes longer than `mostMs`; then the process has ended
 */
export async function startLoad<J extends Job>(job: J, mostMs: number): Promise<Load<J['kind']>> {
  const child = fork(MAIN, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const forget = atExit(() => child.kill('SIGKILL'));
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await closed;
    forget();
  };
  let timer: NodeJS.Timeout | undefined;
  const answer = await new Promise<Answer>((resolve) => {
    timer = setTimeout(() => resolve({ failure: `not done within ${Math.round(mostMs / 1000)} s` }), mostMs);
    child.once('message', (what) => resolve(what as Answer));
    child.once('close', (code) => resolve({ failure: `the load process ended with exit code ${code}` }));
    child.once('error', (error) => resolve({ failure: error.message }));
    child.send(job);
  });
  clearTimeout(timer);
  if ('failure' in answer) {
    await end();
    throw new Error(answer.failure);
  }
  return { result: answer.result as Result[J['kind']], end };
}

/** As `startLoad`, when only the result counts. */
export async function runLoad<J extends Job>(job: J, mostMs: number): Promise<Result[J['kind']]> {
  const { result, end } = await startLoad(job, mostMs);
  await end();
  return result;
}

export function targetOf(url: string): Target {
  const { hostname, port, username, password, pathname } = new URL(url);
  return { host: hostname, port: Number(port), user: username, password, database: pathname.slice(1) };
}
