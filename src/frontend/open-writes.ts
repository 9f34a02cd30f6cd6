import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';
import type { Causality } from '../routing/causality.ts';
import type { Verdict } from '../sql/verdict.ts';

/** Statements of one transaction that are remembered; more say no more about which tables it touched. */
const MAX_STATEMENTS = 20;

/** What the open transaction of a session may have written, until it is acknowledged or lost. */
export class OpenWrites {
  /** Null: nothing. */
  #verdicts: Verdict[] | null = null;

  get any(): boolean {
    return this.#verdicts !== null;
  }

  note(verdicts: readonly Verdict[]): void {
    for (const verdict of verdicts) {
      if (!mayWrite(verdict)) continue;
      this.#verdicts ??= [];
      if (this.#verdicts.length < MAX_STATEMENTS) this.#verdicts.push(verdict);
    }
  }

  /** The transaction is over: what it wrote is acknowledged with this answer. */
  acknowledge(cluster: Cluster, causality: Causality, client: string): void {
    const verdicts = this.take();
    if (verdicts === null) return;
    const atMs = nowMs();
    causality.acknowledged(cluster, atMs);
    cluster.acknowledged.record({ atMs, verdicts, client });
  }

  /** Empties it. @returns null when nothing was written */
  take(): readonly Verdict[] | null {
    const written = this.#verdicts;
    this.#verdicts = null;
    return written;
  }
}

export function mayWrite(verdict: Verdict): boolean {
  return (
    (verdict.class === 'write' || verdict.class === 'copy' || verdict.class === 'unknown') && verdict.mayWrite !== false
  );
}
