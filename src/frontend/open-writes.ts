import type { Verdict } from '../sql/verdict.ts';

/** Statements of one transaction that are remembered; more say no more about which tables it touched. */
const MAX_STATEMENTS = 20;

/** What the open transaction of a session may have written, until it is acknowledged or lost. */
export class OpenWrites {
  #verdicts: Verdict[] = [];

  note(verdicts: readonly Verdict[]): void {
    for (const verdict of verdicts)
      if (mayWrite(verdict) && this.#verdicts.length < MAX_STATEMENTS) this.#verdicts.push(verdict);
  }

  /** Empties it. @returns null when nothing was written */
  take(): readonly Verdict[] | null {
    if (this.#verdicts.length === 0) return null;
    const written = this.#verdicts;
    this.#verdicts = [];
    return written;
  }
}

function mayWrite(verdict: Verdict): boolean {
  return (
    (verdict.class === 'write' || verdict.class === 'copy' || verdict.class === 'unknown') && verdict.mayWrite !== false
  );
}
