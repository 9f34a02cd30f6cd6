/**
 * The program's own clock. Decisions use monotonic milliseconds; wall time is for people and logs. All processes of one Fairlead count from
 * the same instant: what one of them notes, the others can compare.
 */

/** Where a process counts from. */
export type ClockOrigin = {
  /** Milliseconds of the machine's monotonic clock at 0. */
  readonly machineMs: number;
  /** Wall clock at 0, milliseconds since 1970. */
  readonly wallMs: number;
};

/** Added to the process's own count. */
let aheadMs = 0;
let zeroWallMs = performance.timeOrigin;

/** Monotonic milliseconds since Fairlead started, with a fraction. */
export function nowMs(): number {
  return performance.now() + aheadMs;
}

/** Wall clock, milliseconds since 1970, with a fraction; moves with the monotonic clock, so it never steps back. */
export function wallMs(): number {
  return zeroWallMs + nowMs();
}

/** Turns a monotonic instant into wall clock milliseconds. */
export function wallMsOf(monotonicMs: number): number {
  return zeroWallMs + monotonicMs;
}

export function clockOrigin(): ClockOrigin {
  return { machineMs: machineMs() - nowMs(), wallMs: zeroWallMs };
}

/** From now on this process counts from where another one on this machine does. Before anything has noted an instant. */
export function adoptClock(origin: ClockOrigin): void {
  aheadMs = machineMs() - performance.now() - origin.machineMs;
  zeroWallMs = origin.wallMs;
}

function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
