import { readdirSync, readFileSync } from 'node:fs';

/** Processor time in microseconds. */
export type ProcessorTime = { readonly user: number; readonly kernel: number };

/** USER_HZ: what /proc counts in. It is 100 on every platform that Node runs on. */
const TICKS_PER_SECOND = 100;

/** A process and all its living descendants. Empty where there is no /proc. */
export function familyOf(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of processNames()) {
    const stat = statOf(Number(name));
    if (stat !== null) parents.set(Number(name), stat.parent);
  }
  if (!parents.has(pid)) return [];
  const family = new Set([pid]);
  for (let before = 0; before !== family.size; ) {
    before = family.size;
    for (const [child, parent] of parents) if (family.has(parent)) family.add(child);
  }
  return [...family];
}

/** Of all threads of the processes, from /proc/PID/stat. */
export function processorTimeOf(pids: readonly number[]): ProcessorTime {
  let user = 0;
  let kernel = 0;
  for (const pid of pids) {
    const stat = statOf(pid);
    user += stat?.user ?? 0;
    kernel += stat?.kernel ?? 0;
  }
  const micros = 1e6 / TICKS_PER_SECOND;
  return { user: user * micros, kernel: kernel * micros };
}

function processNames(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Null: it has ended. Times in ticks. */
function statOf(pid: number): { readonly parent: number; readonly user: number; readonly kernel: number } | null {
  try {
    // the program's name stands in parentheses and may hold anything: fields are counted from behind it
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), user: Number(fields[11]), kernel: Number(fields[12]) };
  } catch {
    return null;
  }
}
