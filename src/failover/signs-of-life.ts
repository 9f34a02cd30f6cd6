import { maybeDead } from '../cluster/observation.ts';
import type { Observations } from '../cluster/observations.ts';

/** What one node showed in all its probes, where the newest alone would forget it. Monotonic milliseconds of our clock. */
export type SignOfLife = {
  /** Last answer of any kind: a refused login or a full server is alive too. Null: none yet. */
  readonly aliveMs: number | null;
  /** Last time its WAL receiver was seen streaming. */
  readonly streamedMs: number | null;
  /** Highest timeline it showed. A replica whose receiver is gone may name an older one until its next restartpoint. */
  readonly timeline: number;
  /** Since when its host refuses connections without a break: nothing listens there. Null: it does not. */
  readonly refusedSinceMs: number | null;
  /** When it did last, as long as it does. */
  readonly refusedUntilMs: number | null;
  /** Since when it has, as a replica, no streaming receiver; null while it streams. */
  readonly deafSinceMs: number | null;
};

const NOTHING: SignOfLife = Object.freeze({
  aliveMs: null,
  streamedMs: null,
  timeline: 0,
  refusedSinceMs: null,
  refusedUntilMs: null,
  deafSinceMs: null,
});

/** Follows the observations; the memory behind the controller's view. */
export class SignsOfLife {
  readonly #signs = new Map<string, SignOfLife>();

  of(node: string): SignOfLife {
    return this.#signs.get(node) ?? NOTHING;
  }

  /** Somebody saw it stream on that timeline, ahead of the next probe. */
  follows(node: string, timeline: number): void {
    const before = this.of(node);
    this.#signs.set(node, { ...before, timeline: Math.max(before.timeline, timeline), deafSinceMs: null });
  }

  /** Call after each record of `node`. */
  observed(node: string, observations: Observations): void {
    const { last, failure } = observations.of(node);
    const before = this.of(node);
    if (failure !== null) {
      const refusedSinceMs = failure.kind === 'refused' ? (before.refusedSinceMs ?? failure.finishedMs) : null;
      const aliveMs = maybeDead(failure.kind) ? before.aliveMs : failure.finishedMs;
      const refusedUntilMs = refusedSinceMs === null ? null : failure.finishedMs;
      this.#signs.set(node, { ...before, aliveMs, refusedSinceMs, refusedUntilMs });
      return;
    }
    if (last === null) return;
    const streams =
      last.role === 'replica' && (last.receiver?.status === 'streaming' || last.receiver?.status === 'hidden');
    this.#signs.set(node, {
      aliveMs: last.finishedMs,
      streamedMs: streams ? last.finishedMs : before.streamedMs,
      refusedSinceMs: null,
      refusedUntilMs: null,
      timeline: Math.max(before.timeline, last.timeline, last.receiver?.timeline ?? 0),
      deafSinceMs: streams || last.role === 'primary' ? null : (before.deafSinceMs ?? last.finishedMs),
    });
  }
}
