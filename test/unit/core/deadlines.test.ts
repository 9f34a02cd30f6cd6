import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadlines, type Expiring } from '../../../src/core/deadlines.ts';

class Owner implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  expired = 0;
  onExpire: () => void = () => {};

  expire(): void {
    this.expired++;
    this.onExpire();
  }
}

describe('Deadlines', () => {
  it('expires once, at the deadline and not before', () => {
    const deadlines = new Deadlines();
    const owner = new Owner();
    deadlines.set(owner, 100);
    deadlines.sweep(99);
    assert.equal(owner.expired, 0);
    deadlines.sweep(100);
    deadlines.sweep(200);
    assert.equal(owner.expired, 1);
    assert.equal(owner.deadlineMs, Number.POSITIVE_INFINITY);
  });

  it('replaces, clears and forgets', () => {
    const deadlines = new Deadlines();
    const [moved, cleared, endless, stopped] = [new Owner(), new Owner(), new Owner(), new Owner()] as const;
    deadlines.set(moved, 100);
    deadlines.set(moved, 300);
    deadlines.set(cleared, 100);
    deadlines.clear(cleared);
    deadlines.clear(cleared);
    deadlines.set(endless, 100);
    deadlines.set(endless, Number.POSITIVE_INFINITY);
    deadlines.sweep(200);
    assert.deepEqual([moved.expired, cleared.expired, endless.expired], [0, 0, 0]);
    deadlines.sweep(300);
    assert.equal(moved.expired, 1);
    deadlines.set(stopped, 1);
    deadlines.stop();
    deadlines.sweep(400);
    assert.equal(stopped.expired, 0);
  });

  it('bears owners that set and clear deadlines while it sweeps', () => {
    const deadlines = new Deadlines();
    const [first, second] = [new Owner(), new Owner()] as const;
    first.onExpire = () => {
      deadlines.clear(second);
      deadlines.set(first, 500);
    };
    deadlines.set(first, 100);
    deadlines.set(second, 100);
    deadlines.sweep(200);
    assert.deepEqual([first.expired, second.expired], [1, 0]);
    deadlines.sweep(500);
    assert.equal(first.expired, 2);
  });

  it('sweeps by itself once started', async () => {
    const deadlines = new Deadlines(1);
    const owner = new Owner();
    const expired = new Promise<void>((resolve) => {
      owner.onExpire = resolve;
    });
    const awake = setInterval(() => {}, 1000);
    deadlines.start();
    deadlines.set(owner, 0);
    await expired;
    deadlines.stop();
    clearInterval(awake);
  });
});
