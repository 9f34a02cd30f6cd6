import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClockOffset } from '../../../src/monitor/clock-offset.ts';

describe('clock offset', () => {
  it('keeps the estimate with the smallest round trip', () => {
    const clock = new ClockOffset();
    assert.equal(clock.add(1005.5, 1000, 1001), 5);
    // a slow answer that was read late: its own estimate would be 5 - 45
    assert.equal(clock.add(2006, 2000, 2092), 5);
    assert.equal(clock.add(3005.3, 3000, 3000.2), 3005.3 - 3000.1);
  });

  it('forgets an estimate after the window', () => {
    const clock = new ClockOffset(2);
    clock.add(1005.5, 1000, 1001);
    clock.add(2007, 2000, 2004);
    assert.equal(clock.add(3007, 3000, 3004), 5);
    assert.equal(clock.add(4008, 4000, 4004), 5);
  });

  it('starts anew when somebody set a clock', () => {
    const clock = new ClockOffset();
    clock.add(1000.1, 1000, 1000.2);
    assert.equal(clock.add(62_000.5, 2000, 2001), 60_000);
  });
});
