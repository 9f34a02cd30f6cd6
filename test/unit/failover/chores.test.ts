import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MarkKind } from '../../../src/cluster/mark.ts';
import { chores } from '../../../src/failover/chores.ts';
import type { NodeView } from '../../../src/failover/view.ts';
import { NOW, node, STEADY, seen, view } from './fixture.ts';

describe('what a run before left', () => {
  const mark = (kind: MarkKind) => ({ kind, epoch: 2, timeline: 1, detail: '' });
  const kinds = (nodes: readonly NodeView[]) => chores(STEADY, view(nodes), NOW).actions.map(({ kind }) => kind);

  it('a fence that nobody remembers is lifted from a replica that follows', () => {
    assert.deepEqual(kinds([node('pg1'), node('pg2', { seen: seen('pg2', { fence: 2, readOnly: true }) })]), ['lift']);
  });

  it('a fence of the primary, in whatever state, and the mark of a change that is not complete', () => {
    assert.deepEqual(kinds([node('pg1', { seen: seen('pg1', { fence: 2 }) })]), ['lift']);
    assert.deepEqual(kinds([node('pg1', { seen: seen('pg1', { mark: mark('fence') }) })]), ['lift']);
    assert.deepEqual(kinds([node('pg1', { seen: seen('pg1', { mark: mark('promote') }) })]), ['lift']);
  });

  it('a replica that receives nothing is turned to the primary at once', () => {
    for (const kind of ['frozen', 'forward', 'promote'] as const) {
      const held = node('pg2', { seen: seen('pg2', { receiver: null, mark: mark(kind) }), deafSinceMs: NOW - 1 });
      assert.deepEqual(kinds([node('pg1'), held]), ['mend']);
    }
  });

  it('all of it is another Fairlead’s where failover.mode is off', () => {
    const nodes = [
      node('pg1', { seen: seen('pg1', { fence: 2, readOnly: true }) }),
      node('pg2', { seen: seen('pg2', { receiver: null, mark: mark('frozen') }), deafSinceMs: NOW - 9000 }),
      node('pg3', { seen: seen('pg3', { role: 'primary', receiver: null }) }),
    ];
    const { state, actions } = chores(STEADY, view(nodes, { mode: 'off' }), NOW);
    assert.ok(state.fenced.has('pg3'));
    assert.deepEqual([...new Set(actions.map(({ kind }) => kind))], ['event']);
  });

  it('but not by an answer from before the change was complete', () => {
    const held = node('pg2', { seen: seen('pg2', { receiver: null, mark: mark('frozen') }), deafSinceMs: NOW - 1 });
    assert.deepEqual(chores({ ...STEADY, sinceMs: NOW - 1 }, view([node('pg1'), held]), NOW).actions, []);
  });
});

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
