import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { forkOf, historyFileName, parseTimelineHistory } from '../../../src/failover/timeline-history.ts';
import { at } from './fixture.ts';

describe('timeline history', () => {
  const text =
    '1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t0/5000000\tno recovery target specified\n';

  it('is read as PostgreSQL writes it', () => {
    const history = parseTimelineHistory(3, text);
    assert.deepEqual(history.steps, [
      { timeline: 1, endLsn: at(0x3000148) },
      { timeline: 2, endLsn: at(0x5000000) },
    ]);
    assert.equal(forkOf(history, 1), at(0x3000148));
    assert.equal(forkOf(history, 4), null);
  });

  it('lies in a file named after the timeline', () => {
    assert.equal(historyFileName(2), '00000002.history');
    assert.equal(historyFileName(255), '000000FF.history');
  });
});
