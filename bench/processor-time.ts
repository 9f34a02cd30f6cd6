import { readdirSync, readFileSync } from 'node:fs';

/** Processor time in microseconds. */
export type ProcessorTime = { readonly user: number; readonly kernel: number };

/** USER_HZ: what /proc counts in. It is 100 on every platform that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Of a process, all its threads and all its living descendants, from /proc/PID/stat. Null where there is no /proc. */
export function processorTimeOf(pid: number): ProcessorTime | null {
  const stats = allStats();
  if (!stats.has(pid)) return null;
  const wanted = new Set([pid]);
  for (let before = 0; before !== wanted.size; ) {
    before = wanted.size;
    for (const [child, { parent }] of stats) if (wanted.has(parent)) wanted.add(child);
  }
  let user = 0;
  let kernel = 0;
  for (const member of wanted) {
    const stat = stats.get(member);
    user += stat?.user ?? 0;
    kernel += stat?.kernel ?? 0;
  }
  const micros = 1e6 / TICKS_PER_SECOND;
  return { user: user * micros, kernel: kernel * micros };
}

type Stat = { readonly parent: number; readonly user: number; readonly kernel: number };

function allStats(): Map<number, Stat> {
  const stats = new Map<number, Stat>();
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return stats;
  }
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // the program's name stands in parentheses and may hold anything: fields are counted from behind it
      const text = readFileSync(`/proc/${name}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      stats.set(Number(name), { parent: Number(fields[1]), user: Number(fields[11]), kernel: Number(fields[12]) });
    } catch {
      // it has just ended
    }
  }
  return stats;
}
