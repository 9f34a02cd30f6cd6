import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { conditionOf } from '../../../src/cluster/condition.ts';
import type { ProbeFailure } from '../../../src/cluster/observation.ts';
import type { NodeRecord } from '../../../src/cluster/observations.ts';
import { Steadiness } from '../../../src/cluster/steadiness.ts';
import { seen } from '../failover/fixture.ts';

const NOW = 100_000;

function failing(kind: ProbeFailure, finishedMs = NOW): NodeRecord {
  const failure = { node: 'pg1', sequence: 2, startedMs: finishedMs - 1000, finishedMs, kind, message: kind };
  return { last: seen('pg1', { finishedMs: NOW - 5000 }), failure, failingSinceMs: NOW - 5000 };
}

const answering = (finishedMs: number): NodeRecord => ({
  last: seen('pg2', { finishedMs }),
  failure: null,
  failingSinceMs: null,
});

describe('the condition of a node', () => {
  it('is told apart by what a probe met', () => {
    assert.equal(conditionOf(answering(NOW), null, false), 'answers');
    assert.equal(conditionOf({ last: null, failure: null, failingSinceMs: null }, null, false), 'unknown');
    for (const kind of ['refused', 'unreachable', 'hung', 'lost', 'starting'] as const) {
      assert.equal(conditionOf(failing(kind), null, false), kind);
    }
    for (const kind of ['auth', 'too_many', 'sql'] as const) {
      assert.equal(conditionOf(failing(kind), null, false), 'refusing');
    }
  });

  it('is overloaded while something else shows that it lives', () => {
    const life = { atMs: NOW - 500, what: 'its logical stream goes on' };
    assert.equal(conditionOf(failing('hung'), life, false), 'overloaded');
    assert.equal(conditionOf(failing('hung'), { ...life, atMs: NOW - 2500 }, false), 'hung');
    assert.equal(conditionOf(failing('hung'), null, true), 'overloaded');
  });

  it('is cut off where no connection comes about and replicas stream from it', () => {
    assert.equal(conditionOf(failing('unreachable'), null, true), 'cut off');
    assert.equal(conditionOf(failing('refused'), null, true), 'cut off');
    assert.equal(conditionOf(failing('starting'), null, true), 'starting');
  });
});

describe('a node that comes and goes', () => {
  it('is trusted at once after one or two falls, and has to prove itself after three', () => {
    const steadiness = new Steadiness();
    let at = 0;
    const fall = () => {
      steadiness.observed('pg2', failing('refused', at));
      steadiness.observed('pg2', answering(at + 1000));
      at += 2000;
    };
    steadiness.observed('pg2', answering(0));
    fall();
    fall();
    assert.equal(steadiness.doubt('pg2', at), null);
    fall();
    const backMs = at - 1000;
    assert.match(steadiness.doubt('pg2', backMs + 4999) ?? '', /stopped answering 3 times within 60 s/);
    assert.equal(steadiness.doubt('pg2', backMs + 5000), null);
    fall();
    assert.notEqual(steadiness.doubt('pg2', at - 1000 + 9000), null, 'longer with each fall');
    assert.equal(steadiness.doubt('pg2', at - 1000 + 10_000), null);
  });

  it('is trusted again when the falls are long ago', () => {
    const steadiness = new Steadiness();
    steadiness.observed('pg2', answering(0));
    for (const at of [1000, 3000, 80_000]) {
      steadiness.observed('pg2', failing('lost', at));
      steadiness.observed('pg2', answering(at + 500));
    }
    assert.equal(steadiness.doubt('pg2', 80_600), null);
  });

  it('has not fallen when it merely refuses a login', () => {
    const steadiness = new Steadiness();
    for (const at of [1000, 2000, 3000, 4000]) {
      steadiness.observed('pg2', answering(at));
      steadiness.observed('pg2', failing('too_many', at + 500));
    }
    assert.equal(steadiness.doubt('pg2', 5000), null);
  });
});
