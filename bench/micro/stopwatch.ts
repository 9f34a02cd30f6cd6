/** Batches, of which the quickest counts: on a busy machine the others were interrupted. */
const BATCHES = 5;
/** How long the last row of runs before them takes at least: code that is not compiled yet would be measured. */
const WARM_MS = 50;

/**
 * Nanoseconds per run of `body`, which is repeated for about `forMs`.
 * @param operations that one run holds
 */
export function nanosecondsPer(forMs: number, body: () => void, operations = 1): number {
  const batchNs = (forMs * 1e6) / BATCHES;
  const runs = Math.max(1, Math.round(batchNs / warmNs(body)));
  let best = Number.POSITIVE_INFINITY;
  for (let batch = 0; batch < BATCHES; batch++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < runs; i++) body();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / runs);
  }
  return best / operations;
}

/** Nanoseconds per run of the last of ever longer rows of runs. */
function warmNs(body: () => void): number {
  for (let runs = 1; ; runs *= 2) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < runs; i++) body();
    const spent = Number(process.hrtime.bigint() - start);
    if (spent >= WARM_MS * 1e6) return spent / runs;
  }
}
