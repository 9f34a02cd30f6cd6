import { sleep } from '../../src/core/sleep.ts';

export type Patience = {
  /** After this the wait fails. */
  readonly timeoutMs?: number;
  /** What is waited for, for the message of that failure. */
  readonly what: string;
  readonly everyMs?: number;
};

/**
 * Waits until `condition` gives something other than false, null or undefined, and returns that. A condition that throws
 * is asked again.
 * @throws Error after `timeoutMs` (30 s), with what the last try gave.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 30_000, what, everyMs = 20 }: Patience,
): Promise<Exclude<T, false | null | undefined>> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value !== false && value !== null && value !== undefined)
        return value as Exclude<T, false | null | undefined>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadlineMs) {
      const cause = last instanceof Error ? last : undefined;
      throw new Error(`waited ${timeoutMs} ms for ${what}; last: ${cause?.message ?? JSON.stringify(last)}`, { cause });
    }
    await sleep(everyMs);
  }
}
