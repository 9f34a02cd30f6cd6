import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cumulativeOf, LatencyHistogram, quantilesOf, sumOfLatencies } from '../../../src/core/latency-histogram.ts';

function inWindow(histogram: LatencyHistogram, atMs: number): number {
  return histogram.counts(atMs).window.reduce((sum, count) => sum + count, 0);
}

describe('LatencyHistogram', () => {
  it('answers quantiles within 1.6 % over the whole scale', () => {
    for (const scale of [0.001, 0.05, 1, 37, 900, 60_000]) {
      const histogram = new LatencyHistogram();
      for (let i = 1; i <= 1000; i++) histogram.record((i * scale) / 1000, 0);
      for (const q of [0.5, 0.95, 0.99, 0.999, 1]) {
        const exact = (Math.ceil(q * 1000) * scale) / 1000;
        const got = histogram.quantile(q, 0) as number;
        assert.ok(Math.abs(got - exact) <= exact * 0.016 + 0.0006, `${scale} q${q}: ${got} for ${exact}`);
      }
    }
  });

  it('is empty before the first value', () => {
    assert.deepEqual(new LatencyHistogram().quantiles([0.5, 0.99], 0), [null, null]);
  });

  it('takes values outside the scale at its ends', () => {
    const histogram = new LatencyHistogram();
    histogram.record(-1, 0);
    histogram.record(1e12, 0);
    assert.equal(histogram.quantile(0.1, 0), 0);
    assert.ok((histogram.quantile(1, 0) as number) > 4_000_000);
  });

  it('forgets what left the window and keeps the totals', () => {
    const histogram = new LatencyHistogram(60_000, 6);
    histogram.record(5, 1000);
    histogram.record(7, 30_000);
    assert.equal(inWindow(histogram, 59_999), 2);
    assert.equal(inWindow(histogram, 60_000), 1);
    assert.equal(inWindow(histogram, 95_000), 0);
    histogram.record(9, 10_000_000);
    assert.equal(inWindow(histogram, 10_000_000), 1);
    const counts = histogram.counts(10_000_000);
    assert.equal(counts.everCount, 3);
    assert.equal(counts.everSumMs, 21);
    assert.deepEqual(cumulativeOf(counts, [1, 6, 8, 100]), [0, 1, 2, 3]);
  });

  it('adds up over processes', () => {
    const [one, other] = [new LatencyHistogram(), new LatencyHistogram()];
    for (let i = 0; i < 99; i++) one.record(1, 0);
    other.record(50, 0);
    const sum = sumOfLatencies([one.counts(0), other.counts(0)]);
    assert.equal(sum.everCount, 100);
    const [p50, p100] = quantilesOf(sum, [0.5, 1]) as [number, number];
    assert.ok(Math.abs(p50 - 1) < 0.02 && Math.abs(p100 - 50) < 1, `${p50} ${p100}`);
  });
});
