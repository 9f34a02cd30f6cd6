import { wallMsOf } from '../core/clock.ts';

/** A monotonic instant as PgBouncer prints times: `2026-11-21 01:43:46 UTC`. */
export function clockText(monotonicMs: number): string {
  return `${new Date(wallMsOf(monotonicMs)).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** PgBouncer's pair of columns for a span: whole seconds, and the rest in microseconds. */
export function secondsAndMicros(ms: number): readonly [seconds: number, micros: number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1000)];
}
