/** The program's own clock. Decisions use monotonic milliseconds; wall time is for people and logs. */

/** Monotonic milliseconds since the process started, with a fraction. */
export function nowMs(): number {
  return performance.now();
}

/** Wall clock, milliseconds since 1970, with a fraction; moves with the monotonic clock, so it never steps back. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Turns a monotonic instant of this process into wall clock milliseconds. */
export function wallMsOf(monotonicMs: number): number {
  return performance.timeOrigin + monotonicMs;
}
