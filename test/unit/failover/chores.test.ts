import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chores } from '../../../src/failover/chores.ts';
import { NOW, node, STEADY, view } from './fixture.ts';

describe('a former primary that follows again', () => {
  const fenced = new Map([['pg2', { sinceEpoch: 1, reason: 'was primary' }]]);
  const former = node('pg2', { quelled: true });

  it('is taken in, and its fence is lifted', () => {
    const { state, actions } = chores({ ...STEADY, fenced }, view([node('pg1'), former]), NOW);
    assert.equal(state.fenced.size, 0);
    assert.deepEqual(
      actions.map(({ kind }) => kind),
      ['lift', 'event'],
    );
  });

  // the first request came while the node was visited, and was lost: it stayed read-only until its promotion
  it('until that has been done', () => {
    const { actions } = chores(STEADY, view([node('pg1'), former]), NOW);
    assert.deepEqual(actions, [{ kind: 'lift', node: 'pg2' }]);
    assert.deepEqual(chores(STEADY, view([node('pg1'), node('pg2')]), NOW).actions, []);
  });
});
