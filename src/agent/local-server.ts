import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import { serverEnvironment } from '../embedded/embedded-node.ts';
import {
  killAllOf,
  postmasterPid,
  processesOf,
  removeSharedMemoryOf,
  signalProcess,
} from '../embedded/postgres-processes.ts';
import { identityOf, type LocalNode } from './local-node.ts';
import type { Step, StopMode } from './operation.ts';
import { makeOwned } from './places.ts';

const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
const POLL_MS = 50;
/**
 * Patience with a server whose data are about to be replaced. A session of a fenced primary that had temporary tables drops them as it ends, in a
 * transaction that waits for followers which are gone, and nothing but an immediate stop ends that wait.
 */
export const REPLACED_MS = 10_000;
/** After an immediate stop, or the death of their postmaster, processes end by themselves within this. */
const PATIENCE_MS = 5000;

/** `ready` and `standby` are PostgreSQL's own words in postmaster.pid; a standby without hot_standby takes no connections. */
export type ServerState = 'down' | 'starting' | 'standby' | 'ready' | 'orphaned';

/** The state of the server in a data directory, by its processes and its postmaster.pid. No login is needed for that. */
export function serverState(data: string): ServerState {
  const pids = processesOf(data);
  if (pids.length === 0) return 'down';
  const pid = postmasterPid(data);
  if (pid === null || !pids.includes(pid)) return 'orphaned';
  const word = statusLine(data);
  return word === 'ready' || word === 'standby' ? word : 'starting';
}

/** Line 8 (LOCK_FILE_LINE_PM_STATUS in miscadmin.h). */
function statusLine(data: string): string {
  try {
    return (readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[7] ?? '').trim();
  } catch {
    return '';
  }
}

/**
 * Stops whatever runs in the data directory, also a frozen server and processes that outlived theirs. Nothing to do is done.
 * @param limitMs of a fast stop
 * @throws FairleadError refused when something survives SIGKILL.
 */
export async function stopServer(
  node: LocalNode,
  mode: StopMode,
  step: Step,
  limitMs = node.config.stop_timeout,
): Promise<void> {
  const { data } = node.places;
  let state = serverState(data);
  if (state === 'down') return;
  if (state !== 'orphaned') {
    step(`stopping the server (${mode})`);
    // a frozen process takes no signal
    for (const pid of processesOf(data)) signalProcess(pid, 'SIGCONT');
    signalProcess(postmasterPid(data) ?? 0, SIGNALS[mode]);
    if (!(await untilDown(data, mode === 'fast' ? limitMs : PATIENCE_MS)) && mode === 'fast') {
      step('it does not stop: stopping it immediately');
      signalProcess(postmasterPid(data) ?? 0, SIGNALS.immediate);
    }
  }
  await untilDown(data, PATIENCE_MS);
  state = serverState(data);
  if (state === 'down') return;
  step('killing what is left of the server');
  if (!killAllOf(data))
    throw new FairleadError('refused', `processes in ${data} survive SIGKILL`, 'look at the machine');
  removeSharedMemoryOf(data);
}

async function untilDown(data: string, limitMs: number): Promise<boolean> {
  const deadlineMs = nowMs() + limitMs;
  while (serverState(data) !== 'down') {
    if (nowMs() > deadlineMs) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/**
 * Starts the server and waits until it takes connections, or is a standby that takes none. One that runs already is waited for.
 * @param options further arguments of postgres
 * @throws FairleadError refused with the end of the server's log.
 */
export async function startServer(node: LocalNode, step: Step, options: readonly string[] = []): Promise<void> {
  const { data } = node.places;
  const byCommand = node.config.start_command !== null && options.length === 0;
  let child: ChildProcess | null = null;
  let over: string | null = null;
  let ready = 0;
  const deadlineMs = nowMs() + node.config.start_timeout;
  for (;;) {
    const state = serverState(data);
    ready = state === 'ready' || state === 'standby' ? ready + 1 : 0;
    // one that we did not start is looked at twice: it may be dying
    if (ready > (child === null ? 1 : 0)) return;
    if (over !== null) throw notStarted(node, over);
    if (nowMs() > deadlineMs)
      throw notStarted(node, `it is not consistent after ${node.config.start_timeout / 1000} s`);
    if (state === 'orphaned' && child === null) await stopServer(node, 'fast', step);
    else if (state === 'down' && child === null) {
      step('starting the server');
      child = byCommand ? spawnCommand(node) : spawnServer(node, options);
      child.once('error', (error) => {
        over = error.message;
      });
      child.once('exit', (code, signal) => {
        // a command that starts a service ends when it has done so
        if (!byCommand || code !== 0) over = `it ended with ${signal ?? `code ${code}`}`;
      });
    } else if (state === 'starting') step('the server replays WAL until it is consistent');
    await sleep(POLL_MS);
  }
}

/** Arguments by which every program finds the server's configuration. */
export function configArguments({ config }: LocalNode): string[] {
  return config.config_file === null ? [] : ['-c', `config_file=${config.config_file}`];
}

function spawnServer(node: LocalNode, options: readonly string[]): ChildProcess {
  const { data, beside, serverLog } = node.places;
  makeOwned(beside, node.owner);
  const log = openSync(serverLog, 'a', 0o600);
  const child = spawn(join(node.bin, 'postgres'), ['-D', data, ...configArguments(node), ...options], {
    cwd: data,
    env: serverEnvironment(),
    stdio: ['ignore', log, log],
    // of its own: it outlives the agent
    detached: true,
    ...identityOf(node),
  });
  closeSync(log);
  child.unref();
  return child;
}

function spawnCommand(node: LocalNode): ChildProcess {
  makeOwned(node.places.beside, node.owner);
  const log = openSync(node.places.serverLog, 'a', 0o600);
  const child = spawn('/bin/sh', ['-c', node.config.start_command as string], {
    cwd: '/',
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  return child;
}

function notStarted(node: LocalNode, why: string): FairleadError {
  return new FairleadError(
    'refused',
    `the server does not start: ${why}${endOf(node.places.serverLog)}`,
    `see ${node.places.serverLog} and the server's own log`,
  );
}

function endOf(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-3);
    return lines.join('') === '' ? '' : `; its log ends: ${lines.join(' | ')}`;
  } catch {
    return '';
  }
}
