import { maybeDead } from './observation.ts';
import type { NodeRecord } from './observations.ts';

/** Falls within the window before a node has to prove itself. */
const FALLS = 3;
const WINDOW_MS = 60_000;
/** How long it has to answer without a failure at first; twice as long with each further fall. */
const PROOF_MS = 5000;
const LONGEST_PROOF_MS = 60_000;

type Course = {
  /** When it stopped answering, the oldest first. */
  readonly fallsMs: readonly number[];
  readonly answeringSinceMs: number | null;
};

const NOTHING: Course = { fallsMs: [], answeringSinceMs: null };

/** Which nodes come and go. One that does shall not take reads each time it answers for a moment. */
export class Steadiness {
  readonly #courses = new Map<string, Course>();

  /** Call after each record of `node`. */
  observed(node: string, { last, failure }: NodeRecord): void {
    const before = this.#courses.get(node) ?? NOTHING;
    if (failure !== null) {
      if (!maybeDead(failure.kind) || before.answeringSinceMs === null) return;
      const recent = before.fallsMs.filter((ms) => failure.finishedMs - ms < WINDOW_MS);
      this.#courses.set(node, { fallsMs: [...recent, failure.finishedMs], answeringSinceMs: null });
    } else if (last !== null && before.answeringSinceMs === null) {
      this.#courses.set(node, { ...before, answeringSinceMs: last.finishedMs });
    }
  }

  /** Why reads are kept from a node that answers at `nowMs`; null: it is steady. */
  doubt(node: string, nowMs: number): string | null {
    const { fallsMs, answeringSinceMs } = this.#courses.get(node) ?? NOTHING;
    if (answeringSinceMs === null) return null;
    const falls = fallsMs.filter((ms) => answeringSinceMs - ms < WINDOW_MS).length;
    if (falls < FALLS) return null;
    const proofMs = Math.min(LONGEST_PROOF_MS, PROOF_MS * 2 ** (falls - FALLS));
    if (nowMs - answeringSinceMs >= proofMs) return null;
    return `stopped answering ${falls} times within ${WINDOW_MS / 1000} s; serves reads again after ${proofMs / 1000} s without a failure`;
  }
}
