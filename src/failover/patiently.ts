import { ControlError } from '../backend/control-connection.ts';
import { nowMs } from '../core/clock.ts';
import { sleep } from '../core/sleep.ts';

/** A server that cannot be asked is asked again within this, while writers wait for its answer. */
const AWAY_MS = 1500;
const AGAIN_MS = 20;

/**
 * Repeats what failed because the server was not reached, each time over a new connection. What it refuses is not repeated.
 * @throws what `run` threw last
 */
export async function patiently<T>(run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const endMs = nowMs() + AWAY_MS;
  for (;;) {
    try {
      return await run();
    } catch (error) {
      const away = error instanceof ControlError && error.kind !== 'sql' && error.kind !== 'auth';
      if (!away || nowMs() >= endMs || signal?.aborted) throw error;
    }
    await sleep(AGAIN_MS, signal);
  }
}
