import { readFileSync } from 'node:fs';

/** Whether a process of this machine runs. A zombie has ended: its parent, this container's first process, only did not look. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
