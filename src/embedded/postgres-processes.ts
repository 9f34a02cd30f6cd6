/** Which processes belong to a data directory, found so that no stranger is ever signalled. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

const PROGRAMS = new Set(['postgres', 'initdb', 'pg_rewind']);
const HAS_PROC = existsSync('/proc/self/stat');

/** Identifies a process across reuse of its pid: when it was started. Null when there is no such process. */
export function processStartTime(pid: number): string | null {
  try {
    if (!HAS_PROC) return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || null;
    // the command in parentheses may itself hold blanks and parentheses
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? null : (fields[19] as string);
  } catch {
    return null;
  }
}

/**
 * Every live process of the server that runs in `directory`: the postmaster, its children, and children that outlived it.
 * All of them have the data directory as their working directory, which no pid file can lie about, and the program's
 * name (somebody's shell may stand in that directory too). Without /proc: the
 * pid in postmaster.pid when its command line names the directory, and its children.
 */
export function processesOf(directory: string): number[] {
  if (!HAS_PROC) return processesByPs(directory);
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, '');
      if (cwd !== directory || !PROGRAMS.has(readFileSync(`/proc/${pid}/comm`, 'utf8').trim())) return [];
      return processStartTime(pid) === null ? [] : [pid];
    } catch {
      return []; // it ended meanwhile, or is somebody else's
    }
  });
}

function processesByPs(directory: string): number[] {
  const pid = postmasterPid(directory);
  if (pid === null) return [];
  const table = execFileSync('ps', ['-axo', 'pid=,ppid=,command='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null);
  const own = table.find((match) => Number(match[1]) === pid);
  if (own === undefined || !(own[3] as string).includes(directory)) return [];
  return [pid, ...table.filter((match) => Number(match[2]) === pid).map((match) => Number(match[1]))];
}

/** First line of postmaster.pid; null when there is none. */
export function postmasterPid(directory: string): number | null {
  try {
    const pid = Number(readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n')[0]);
    return Number.isInteger(pid) && pid > 1 ? pid : null;
  } catch {
    return null;
  }
}

/** @returns whether there was a process to signal. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/**
 * Kills whatever still runs in `directory`, stopped processes too, and waits, blocking, until it is gone.
 * Blocking because it must also work in an exit handler.
 * @returns false when something survived for ten seconds.
 */
export function killAllOf(directory: string): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let round = 0; round < 1000; round++) {
    const pids = processesOf(directory);
    if (pids.length === 0) return true;
    for (const pid of pids) signalProcess(pid, 'SIGKILL');
    Atomics.wait(pause, 0, 0, 10);
  }
  return false;
}

/**
 * Removes the System V segment that a killed postmaster leaves behind (a few bytes, but their number is limited),
 * when nobody is attached to it. Linux only; elsewhere the next server with the same key recycles it.
 */
export function removeSharedMemoryOf(directory: string): void {
  try {
    // line 7 of postmaster.pid: key and id of the segment (LOCK_FILE_LINE_SHMEM_KEY in miscadmin.h)
    const [key, id] = (readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n')[6] ?? '')
      .trim()
      .split(/\s+/);
    if (key === undefined || id === undefined) return;
    const unused = readFileSync('/proc/sysvipc/shm', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .some((fields) => Number(fields[0]) === Number(key) && fields[1] === id && fields[6] === '0');
    if (unused) execFileSync('ipcrm', ['-m', id], { stdio: 'ignore' });
  } catch {
    // no pid file, no /proc, no ipcrm: nothing to remove or nothing to remove it with
  }
}
