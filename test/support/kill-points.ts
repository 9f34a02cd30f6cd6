/** At which steps Fairlead is killed: some of them, or with FAIRLEAD_TEST_KILLS=all each one. */
import type { TestContext } from 'node:test';
import type { Step } from './breakpoints.ts';
import type { Where } from './kill-scene.ts';

export const ALL_KILLS = process.env.FAIRLEAD_TEST_KILLS === 'all';

/**
 * @param some where to kill unless all are asked for
 * @param round @returns false when it has no such step
 * @returns how many kills there were
 */
export async function sweep(some: readonly Where[], round: (where: Where) => Promise<boolean>): Promise<number> {
  let kills = 0;
  if (!ALL_KILLS) {
    for (const where of some) if (await round(where)) kills++;
    return kills;
  }
  for (let at = 1; ; at++) {
    for (const when of ['before', 'after'] as const) {
      if (!(await round({ at, when }))) return kills;
      kills++;
    }
  }
}

export function tellKill(t: TestContext, { at, when }: Where, step: Step, primary: string, startedMs: number): void {
  const text = step.statement.replace(/\s+/g, ' ').replace(/password='+[^']*'+/, 'password=…');
  const took = Math.round(performance.now() - startedMs);
  t.diagnostic(`${when} ${at}: ${step.node}: ${text.slice(0, 150)}; ${primary} is the primary, ${took} ms`);
}
