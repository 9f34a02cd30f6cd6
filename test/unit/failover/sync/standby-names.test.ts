import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { implies } from '../../../../src/failover/sync/quorum.ts';
import {
  formatNames,
  NO_ACKNOWLEDGEMENT,
  parseNames,
  priorityOf,
  type StandbyNames,
} from '../../../../src/failover/sync/standby-names.ts';

const NODES = ['pg1', 'pg2', 'PG-3'];
const parse = (text: string) => parseNames(text, NODES);
const names = (method: 'FIRST' | 'ANY', copies: number, nodes: string[], markers = 0): StandbyNames => ({
  method,
  quorum: { copies, nodes },
  markers,
});

describe('synchronous_standby_names', () => {
  const texts: readonly (readonly [string, StandbyNames | null])[] = [
    ['', names('FIRST', 0, [])],
    ['  ', names('FIRST', 0, [])],
    ['ANY 1 ("pg1", "pg2")', names('ANY', 1, ['pg1', 'pg2'])],
    ['any 2(pg1,PG2 , "pg-3")', names('ANY', 2, ['pg1', 'pg2', 'PG-3'])],
    ['2 (pg1, pg2)', names('FIRST', 2, ['pg1', 'pg2'])],
    ['pg1, pg2', names('FIRST', 1, ['pg1', 'pg2'])],
    ['FIRST 1 (other)', names('FIRST', 1, ['other'])],
    ['FIRST 2 ("fairlead_change", "fairlead_change", "pg1", "pg2")', names('FIRST', 2, ['pg1', 'pg2'], 2)],
    ['*', null],
    ['ANY 1 (*)', null],
    ['FIRST 1 (pg1', null],
  ];
  for (const [text, meaning] of texts) {
    it(`reads ${text === '' ? 'nothing' : text}`, () => assert.deepEqual(parse(text), meaning));
  }

  it('writes what it reads', () => {
    for (const [, meaning] of texts) {
      if (meaning !== null) assert.deepEqual(parse(formatNames(meaning)), meaning);
    }
  });

  it('knows what holds every commit back', () => {
    for (const text of [NO_ACKNOWLEDGEMENT, 'fairlead_fence_7', 'FIRST 1 (fairlead_fence_7)']) {
      const quorum = parse(text)?.quorum;
      assert.ok(quorum !== undefined && implies(quorum, { copies: 3, nodes: ['x'] }), text);
    }
  });

  it('knows the priority a walsender has once it has read it', () => {
    const marked = names('FIRST', 1, ['pg1', 'PG-3'], 2);
    assert.deepEqual(
      ['pg1', 'pg-3', 'pg2'].map((name) => priorityOf(marked, name)),
      [3, 4, 0],
    );
    assert.equal(priorityOf(names('ANY', 1, ['pg1', 'pg2']), 'pg2'), 1);
    assert.equal(priorityOf(names('FIRST', 0, []), 'pg2'), 0);
  });
});
