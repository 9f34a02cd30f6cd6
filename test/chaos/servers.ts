/** What can be done to a server's processes, whoever started it. */
import { readFileSync } from 'node:fs';
import { postmasterPid, processesOf, signalProcess } from '../../src/embedded/postgres-processes.ts';
import { until } from '../support/wait.ts';

/** By the titles that PostgreSQL gives its processes. */
const TITLES = {
  walreceiver: /^postgres: (\S+: )?walreceiver/,
  walsender: /^postgres: (\S+: )?walsender/,
  startup: /^postgres: (\S+: )?startup/,
  backend: /^postgres: (\S+: )?application /,
} as const;
export type ProcessKind = keyof typeof TITLES;

/** A postmaster.pid outlives its postmaster. */
export function postmasterOf(directory: string): number | null {
  const pid = postmasterPid(directory);
  return pid !== null && processesOf(directory).includes(pid) ? pid : null;
}

/** SIGKILL to the postmaster alone; resolves when it and the children that notice by themselves have ended. */
export async function killServer(directory: string): Promise<void> {
  const pid = postmasterOf(directory);
  if (pid === null) return;
  signalProcess(pid, 'SIGKILL');
  await until(() => postmasterOf(directory) === null, { what: 'the postmaster to end', everyMs: 5 });
}

/** SIGSTOP to every process. */
export function freezeServer(directory: string): void {
  const pid = postmasterOf(directory);
  if (pid !== null) signalProcess(pid, 'SIGSTOP');
  const frozen = new Set<number>();
  // until a pass finds no new one
  for (let before = -1; before !== frozen.size; ) {
    before = frozen.size;
    for (const found of processesOf(directory)) if (signalProcess(found, 'SIGSTOP')) frozen.add(found);
  }
}

export function thawServer(directory: string): void {
  for (const pid of processesOf(directory)) signalProcess(pid, 'SIGCONT');
}

export function processesOfKind(directory: string, kind: ProcessKind): number[] {
  return processesOf(directory).filter((pid) => {
    try {
      return TITLES[kind].test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    } catch {
      return false;
    }
  });
}
