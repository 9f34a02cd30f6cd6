import { readFileSync } from 'node:fs';
import { sleep } from '../../src/core/sleep.ts';

const EVERY_MS = 500;
/** Readings in a row that must be alike. */
const ALIKE = 6;
const SETTLED_SHARE = 0.005;

/** Bytes, from /proc/PID/status. @throws Error when there is none */
export function residentMemoryOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) * 1024;
}

/** Bytes, when they have stayed about the same for 3 s, or as they are after `mostMs`. */
export async function settledMemoryOf(pid: number, mostMs: number): Promise<number> {
  const readings: number[] = [];
  for (const endMs = performance.now() + mostMs; performance.now() < endMs; await sleep(EVERY_MS)) {
    readings.push(residentMemoryOf(pid));
    const last = readings.slice(-ALIKE);
    const spread = Math.max(...last) - Math.min(...last);
    if (last.length === ALIKE && spread <= SETTLED_SHARE * Math.max(...last)) break;
  }
  return residentMemoryOf(pid);
}
