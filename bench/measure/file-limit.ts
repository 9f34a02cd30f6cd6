import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Tries to let this process and those that it starts have `wanted` open files. Node raises its own limit to the hard one, and who it
 * starts inherits that; only root can raise the hard one.
 * @returns how many they may have
 */
export function raiseFileLimit(wanted: number): number {
  if (hardLimit() < wanted) {
    try {
      execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${wanted}:${wanted}`], { stdio: 'ignore' });
    } catch {
      // what is there has to do
    }
  }
  return hardLimit();
}

function hardLimit(): number {
  try {
    const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  } catch {
    return 1024;
  }
}
