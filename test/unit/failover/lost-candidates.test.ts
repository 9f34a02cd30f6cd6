import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Fence } from '../../../src/cluster/assignment.ts';
import { decide } from '../../../src/failover/decide.ts';
import { fenceOf, lostFence, overtakenBy, type Will } from '../../../src/failover/lost-candidates.ts';
import type { Request, State } from '../../../src/failover/state.ts';
import { dead, NOW, orphan, STEADY, SUSPECT, seen, view } from './fixture.ts';

const TOLD = 100;
const AGAIN = 200;
const lone = (startedAt: number) => orphan('pg2', 1000, { seen: seen('pg2', { receiver: null, startedAt }) });
const fence: Fence = { sinceEpoch: 2, reason: 'lost', toldRun: TOLD, losses: 1 };
const fencedBy = (change: Partial<Fence>): State => ({
  ...STEADY,
  fenced: new Map([['pg2', { ...fence, ...change }]]),
});

describe('a candidate that was lost in its promotion', () => {
  const cases: readonly (readonly [string, Partial<Fence>, number, Will, RegExp | null])[] = [
    ['it may be promoted at any time while its server was not started again', {}, TOLD, 2, /^lost$/],
    ['started again as a replica it was not promoted', {}, AGAIN, 0, null],
    ['three times are enough', { losses: 3 }, AGAIN, 0, /^lost \(3 times\); fairlead failover tries once more$/],
    ['but not for an operator', { losses: 3 }, AGAIN, 1, null],
    ['after another primary it is nobody’s', { overtaken: true }, AGAIN, 0, /--allow-data-loss/],
    ['nor an operator’s', { overtaken: true }, AGAIN, 1, /--allow-data-loss/],
    ['unless he accepts a loss', { overtaken: true }, AGAIN, 2, null],
  ];
  for (const [name, change, startedAt, will, expected] of cases) {
    it(name, () => {
      const reason = fenceOf(fencedBy(change), lone(startedAt), will);
      if (expected === null) assert.equal(reason, null);
      else assert.match(String(reason), expected);
    });
  }

  it('is counted, and a former primary is not overtaken by anybody', () => {
    const again = lostFence(fencedBy({ losses: 2 }), 'pg2', 'lost again', AGAIN);
    assert.deepEqual(again, { sinceEpoch: STEADY.epoch, reason: 'lost again', losses: 3, toldRun: AGAIN });
    const former = { sinceEpoch: 1, reason: 'was primary' };
    const after = overtakenBy(
      new Map([
        ['pg1', former],
        ['pg2', fence],
      ]),
    );
    assert.deepEqual([...after.values()], [former, { ...fence, overtaken: true }]);
  });

  it('is promoted when an operator asks for it, though it has died of that three times', () => {
    const fenced = new Map([['pg2', { ...fence, losses: 3 }]]);
    const state: State = { ...SUSPECT, phase: 'halted', primary: null, sinceMs: NOW - 5000, epoch: 2, fenced };
    const asked = (request: Request | null) => decide(state, view([dead('pg1'), lone(AGAIN)], { request }), NOW);
    assert.equal(asked(null).state.phase, 'halted');
    const { state: begun, actions } = asked({ kind: 'failover', to: null });
    assert.equal(begun.phase, 'fencing');
    assert.deepEqual(
      actions.find(({ kind }) => kind === 'freeze'),
      { kind: 'freeze', nodes: ['pg2'], former: 'pg1', force: true },
    );
  });
});
