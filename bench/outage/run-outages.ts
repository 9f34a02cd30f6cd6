/** One cluster, whose primary goes over and over; the former one is brought back each time by the agent beside it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../src/core/sleep.ts';
import { Arena } from '../../test/chaos/arena.ts';
import { Clients, type Entry } from '../../test/chaos/clients.ts';
import { idsThere } from '../../test/chaos/truth.ts';
import { type Counts, judge } from '../../test/chaos/verdict.ts';
import { until } from '../../test/support/wait.ts';
import type { OutageFault } from './faults.ts';

/** Of one run. */
export type OutageRun = {
  readonly fault: string;
  /** Longest time between two acknowledged writes, of whichever client. */
  readonly outageMs: number;
  /** From the fault to the end of that time. */
  readonly resumedMs: number;
  readonly counts: Counts;
};

const CLIENTS = { writers: 4, readers: 2, pinned: 0, pauseMs: 1, plain: true, seed: 1 };
const STEADY_MS = 500;
const RESUME_MS = 30_000;

/** @param told of every run */
export async function runOutages(
  options: { readonly timeoutMs: number; readonly runs: number; readonly pgBin: string | undefined },
  faults: readonly OutageFault[],
  told: (run: OutageRun) => void,
): Promise<OutageRun[]> {
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-outage-'));
  const { timeoutMs, pgBin } = options;
  const arena = await Arena.start({
    mode: 'async',
    pgBin,
    directory,
    failover: { timeout: timeoutMs, max_promotions: 1000 },
  });
  const runs: OutageRun[] = [];
  let clients: Clients | null = null;
  try {
    clients = await Clients.start(arena.url, CLIENTS, () => arena.fairlead.generation);
    for (let i = 0; i < options.runs; i++) {
      for (const fault of faults) {
        const run = await runOne(arena, clients, fault);
        runs.push(run);
        told(run);
      }
    }
  } finally {
    await clients?.stop();
    await arena.stop();
    rmSync(directory, { recursive: true });
  }
  return runs;
}

async function runOne(arena: Arena, clients: Clients, fault: OutageFault): Promise<OutageRun> {
  const primary = await arena.primary();
  const known = new Set((await arena.fairlead.events()).map(({ id }) => id));
  const first = clients.next;
  clients.resume();
  // at no particular moment between two looks of Fairlead
  await sleep(STEADY_MS + Math.random() * STEADY_MS);
  await until(() => clients.acknowledged.length > 50, { what: 'writes', timeoutMs: RESUME_MS });
  const port = arena.cluster.node(primary).port;
  const faultMs = Date.now();
  await fault.begin(arena, primary);
  const elsewhere = () => clients.acknowledged.some(({ server }) => server !== null && server !== port);
  await until(elsewhere, { what: 'a write elsewhere', timeoutMs: RESUME_MS });
  await sleep(STEADY_MS);
  await fault.end(arena, primary);
  const entries = [...clients.acknowledged];
  await arena.recover();
  await clients.pause();
  const { counts } = judge({
    ...{ mode: 'async', primary, entries: clients.entries, doubts: clients.doubts, overlaps: [] },
    ...{ drops: clients.drops, readErrors: clients.readErrors, generation: arena.fairlead.generation },
    there: await idsThere(arena, first),
    events: (await arena.fairlead.events()).filter(({ id }) => !known.has(id)),
  });
  return { fault: fault.name, ...longestGap(entries, faultMs), counts };
}

function longestGap(acknowledged: readonly Entry[], faultMs: number): { outageMs: number; resumedMs: number } {
  const ended = acknowledged.map(({ endedMs }) => endedMs).sort((a, b) => a - b);
  let outageMs = 0;
  let resumedMs = Number.NaN;
  for (let i = 1; i < ended.length; i++) {
    const [before, after] = [ended[i - 1] as number, ended[i] as number];
    if (after < faultMs || after - before <= outageMs) continue;
    outageMs = after - before;
    resumedMs = after - faultMs;
  }
  return { outageMs, resumedMs };
}
