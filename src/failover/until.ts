import { nowMs } from '../core/clock.ts';
import { sleep } from '../core/sleep.ts';

/** How often a server is asked while somebody waits for it: what is asked for is often there at once, else within tens of milliseconds. */
const FIRST_MS = 2;
const POLL_MS = 15;

/**
 * Asks until the answer is not null, at most until `limitMs` from now.
 * @returns null when the time is over. @throws what `ask` throws.
 */
export async function until<T>(limitMs: number, ask: () => Promise<T | null>, signal?: AbortSignal): Promise<T | null> {
  const endMs = nowMs() + limitMs;
  for (let pollMs = FIRST_MS; ; pollMs = Math.min(2 * pollMs, POLL_MS)) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (nowMs() >= endMs || signal?.aborted) return null;
    await sleep(pollMs, signal);
  }
}
