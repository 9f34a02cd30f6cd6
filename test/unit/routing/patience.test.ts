import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Patience } from '../../../src/routing/patience.ts';

const WAIT_MS = 100;

/** Three waits in vain, one behind the other, from `fromMs` on. @returns when the last one ended */
function threeInVain(patience: Patience, fromMs = 1000): number {
  for (let i = 1; i <= 3; i++) patience.inVain('replay', fromMs + i * WAIT_MS, WAIT_MS);
  return fromMs + 3 * WAIT_MS;
}

describe('patience', () => {
  it('waits as long as waits were not in vain three times', () => {
    const patience = new Patience();
    patience.inVain('replay', 1100, WAIT_MS);
    patience.inVain('replay', 1200, WAIT_MS);
    assert.equal(patience.mayWait('replay', 1200, WAIT_MS), true);
  });

  it('spares the next waits, and lets one in ten times their length find out', () => {
    const patience = new Patience();
    const endMs = threeInVain(patience);
    assert.equal(patience.mayWait('replay', endMs, WAIT_MS), false);
    assert.equal(patience.mayWait('replay', endMs + 999, WAIT_MS), false);
    assert.equal(patience.mayWait('replay', endMs + 1000, WAIT_MS), true);
    assert.equal(patience.mayWait('replay', endMs + 1001, WAIT_MS), false);
    assert.equal(patience.mayWait('replay', endMs + 2000, WAIT_MS), true);
  });

  it('waits again when one was rewarded', () => {
    const patience = new Patience();
    const endMs = threeInVain(patience);
    patience.rewarded('replay');
    assert.equal(patience.mayWait('replay', endMs, WAIT_MS), true);
  });

  it('counts many that wait at the same time once', () => {
    const patience = new Patience();
    for (let i = 0; i < 50; i++) patience.inVain('replay', 1100 + i, WAIT_MS);
    assert.equal(patience.mayWait('replay', 1200, WAIT_MS), true);
  });

  it('knows replicas and the stream apart', () => {
    const patience = new Patience();
    const endMs = threeInVain(patience);
    assert.equal(patience.mayWait('stream', endMs, WAIT_MS), true);
    patience.rewarded('stream');
    assert.equal(patience.mayWait('replay', endMs, WAIT_MS), false);
  });
});
