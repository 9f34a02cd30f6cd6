import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LatencyHistogram } from '../../../src/core/latency-histogram.ts';

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
    assert.equal(histogram.count(59_999), 2);
    assert.equal(histogram.count(60_000), 1);
    assert.equal(histogram.count(95_000), 0);
    histogram.record(9, 10_000_000);
    assert.equal(histogram.count(10_000_000), 1);
    assert.equal(histogram.totalCount, 3);
    assert.equal(histogram.totalSumMs, 21);
    assert.deepEqual(histogram.cumulative([1, 6, 8, 100]), [0, 1, 2, 3]);
  });
});
