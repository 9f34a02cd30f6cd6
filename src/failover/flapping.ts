import type { State } from './state.ts';

/** Promotions by Fairlead itself are counted for so long. */
export const FLAP_WINDOW_MS = 600_000;

/** Why no further promotion happens by itself; null: it may. @param most within the window; the next one is left to people */
export function flapping({ promotionsMs }: State, most: number, nowMs: number): string | null {
  const recent = promotionsMs.filter((ms) => nowMs - ms < FLAP_WINDOW_MS).length;
  if (recent < most) return null;
  return `${recent} promotions within ${FLAP_WINDOW_MS / 60_000} minutes: an operator must decide`;
}

/** Those of this run, and what the nodes have on record of earlier ones. */
export function withEarlier(promotionsMs: readonly number[], recordedMs: readonly number[]): readonly number[] {
  // those of this run are on record too, at nearly the same instant
  const earlier = recordedMs.filter((ms) => !promotionsMs.some((own) => Math.abs(own - ms) < 1000));
  return [...earlier, ...promotionsMs].sort((a, b) => a - b).slice(-20);
}
