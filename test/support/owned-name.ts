/** Names of what this process makes outside of its directories, such that a later run can tell whether the maker is gone. */
import { processStartTime } from '../../src/embedded/postgres-processes.ts';

let made = 0;

/** `PREFIX-pid-starttime-number`, with letters, digits and dashes only. */
export function ownedName(prefix: string): string {
  return `${prefix}-${process.pid}-${processStartTime(process.pid)}-${made++}`;
}

/** Whether such a name is that of a process which has ended. */
export function isAbandoned(prefix: string, name: string): boolean {
  const [, pid, startTime] = new RegExp(`^${prefix}-(\\d+)-(\\d+)-\\d`).exec(name) ?? [];
  return pid !== undefined && processStartTime(Number(pid)) !== startTime;
}
