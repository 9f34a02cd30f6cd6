/** What the servers are like while sessions are measured. */
import { sleep } from '../../src/core/sleep.ts';
import type { Contender, Stage } from '../contender/contender.ts';
import type { SessionsResult } from '../load/job.ts';
import { runLoad, targetOf } from '../load/load-process.ts';
import type { Plan } from '../plan.ts';
import { type BulkLoad, startBulkLoad } from './bulk-load.ts';
import { delayReplay, untilBehind, untilCaughtUp } from './replay-delay.ts';

export const SCENES = ['healthy', 'delayed', 'bulk'] as const;
export type SceneName = (typeof SCENES)[number];

/** Of one contender, in one round. */
export type Measured = Readonly<Record<SceneName, SessionsResult>>;

export const DELAY_MS = 100;

const WARM_UP_SECONDS = 3;
/** A proxy that looks once a second has looked. */
const SETTLE_MS = 1500;
/** Of a load process, beyond the seconds that it was told. */
const MORE_MS = 30_000;

export async function measureScenes(
  contender: Contender,
  stage: Stage,
  plan: Plan,
  note: (line: string) => void,
): Promise<Measured> {
  const run = (seconds: number) => {
    const writers = Math.ceil(plan.sessions / 2);
    const job = { kind: 'sessions', writers, readers: plan.sessions - writers, seconds } as const;
    return runLoad({ ...job, target: targetOf(contender.url) }, seconds * 1000 + MORE_MS);
  };
  let bulk: BulkLoad | null = await startBulkLoad(stage.primary);
  const endBulk = async () => {
    const ending = bulk;
    bulk = null;
    await ending?.stop();
  };
  try {
    // every table that will be written is: plans, catalogs and names are known to whoever wants to know them
    await run(WARM_UP_SECONDS);
    await endBulk();
    await untilCaughtUp(stage);
    await sleep(SETTLE_MS);
    const healthy = await run(plan.pacedSeconds);

    await delayReplay(stage, DELAY_MS);
    await sleep(SETTLE_MS);
    const delayed = await run(plan.pacedSeconds);

    await delayReplay(stage, plan.bulkDelayMs);
    bulk = await startBulkLoad(stage.primary);
    await untilBehind(stage, plan.bulkDelayMs);
    await sleep(SETTLE_MS);
    const during = await run(plan.pacedSeconds);
    const behindMs = await untilBehind(stage, plan.bulkDelayMs);
    note(
      `${contender.name}: at the end the replicas are ${behindMs.map((ms) => Math.round(ms)).join(' and ')} ms behind`,
    );
    await endBulk();
    return { healthy, delayed, bulk: during };
  } finally {
    await delayReplay(stage, 0);
    await endBulk();
    await untilCaughtUp(stage);
  }
}
