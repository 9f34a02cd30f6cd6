import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Entry } from '../../chaos/clients.ts';
import { overlapsOf, type Sample } from '../../chaos/sampler.ts';
import { type Evidence, judge, twoWriters } from '../../chaos/verdict.ts';

const ADDRESS = '127.0.0.1:5000';

function write(id: number, more: Partial<Entry> = {}): Entry {
  const times = { startedMs: id * 100, endedMs: id * 100 + 10 };
  return { id, writer: 0, address: ADDRESS, generation: 1, ...times, outcome: 'ok', code: null, server: 1, ...more };
}

function evidence(more: Partial<Evidence>): Evidence {
  const nothing = { doubts: [], drops: [], readErrors: [], there: [], events: [], overlaps: [] };
  return { mode: 'async', primary: 'pg1', entries: [], generation: 1, ...nothing, ...more };
}

const failover = (atMs: number) => ({
  ...{ at: '', id: '', kind: 'failover', node: 'pg2', message: '' },
  details: { unprovenWrites: [{ acknowledgedAt: new Date(atMs).toISOString(), client: ADDRESS }] },
});

describe('the verdict of a round', () => {
  it('allows what is as it was told', () => {
    const entries = [write(1), write(2, { outcome: 'failed' }), write(3, { outcome: 'unknown' })];
    assert.deepEqual(judge(evidence({ entries, there: [1, 3] })).violations, []);
    assert.deepEqual(judge(evidence({ entries, there: [1] })).violations, []);
  });

  it('finds what is lost, there all the same, and there twice', () => {
    const entries = [write(1), write(2, { outcome: 'failed' })];
    const { counts, violations } = judge(evidence({ mode: 'quorum', entries, there: [2, 2] }));
    assert.deepEqual([counts.lost, counts.ghosts, counts.duplicates, violations.length], [1, 1, 1, 3]);
  });

  it('forgives asynchronous replication what an event names, by client and time, and nothing else', () => {
    const lost = (events: Evidence['events'], generation = 1) =>
      judge(evidence({ entries: [write(1)], events, generation }));
    assert.deepEqual(lost([failover(105)]).violations, []);
    assert.equal(lost([failover(400)]).counts.unlisted, 1);
    assert.match(lost([]).violations[0] ?? '', /on no list: 1/);
    assert.deepEqual(lost([], 2).counts.orphaned, 1);
  });

  it('holds a read to what is there in the end', () => {
    const doubt = { kind: 'own write', client: 0, missing: 1, atMs: 200 } as const;
    const of = (there: number[]) => judge(evidence({ entries: [write(1)], doubts: [doubt], there })).counts.stale;
    assert.deepEqual([of([1]), of([])], [1, 0]);
  });

  it('counts connections that were dropped, other than those of a dead Fairlead and pinned ones', () => {
    const drop = { atMs: 0, reason: 'closed', generation: 2, pinned: false };
    const drops = [drop, { ...drop, generation: 1 }, { ...drop, pinned: true }];
    assert.equal(judge(evidence({ drops, generation: 2 })).counts.drops, 1);
  });
});

describe('two writers', () => {
  it('is a server that acknowledges again after another one has', () => {
    const entries = [write(1), write(2, { server: 2 }), write(3)];
    assert.equal(twoWriters(entries, 1), 1);
    assert.equal(twoWriters(entries, 2), 0);
  });

  it('is none where the primary changed, also where a Fairlead died before it could tell and the next one adopted whom it found', () => {
    const entries = [write(1), write(2, { server: 2 })];
    const adopted = (node: string) => ({ at: '2026-11-27T12:00:00Z', id: '', kind: 'adopted', node, message: '' });
    const judged = (events: Evidence['events']) =>
      judge(evidence({ entries, there: [1, 2], events })).counts.twoWriters;
    assert.deepEqual([judged([]), judged([adopted('pg1')]), judged([adopted('pg2')])], [1, 1, 0]);
    assert.equal(judged([{ ...failover(0), at: '2026-11-27T12:00:00Z' }]), 0);
  });

  it('is not what the times leave room for', () => {
    const held = write(1, { server: 2, endedMs: 900 });
    assert.equal(twoWriters([held, write(2), write(3), write(4, { server: 2, endedMs: 950 })], 1), 0);
  });
});

describe('servers that are open at the same time', () => {
  const sample = (node: string, ms: number, more: Partial<Sample> = {}): Sample => ({
    ...{ node, startedMs: ms, endedMs: ms + 5, system: '1', timeline: 1 },
    ...{ recovery: false, readOnly: false, acknowledges: true, ...more },
  });

  it('are found', () => {
    const samples = [0, 50, 100].flatMap((ms) => [sample('pg1', ms), sample('pg2', ms + 60)]);
    assert.deepEqual(overlapsOf(samples), [{ nodes: ['pg1', 'pg2'], fromMs: 60, ms: 45 }]);
  });

  it('are not when one is fenced, recovers, or would acknowledge nothing', () => {
    for (const closed of [{ readOnly: true }, { recovery: true }, { acknowledges: false }]) {
      const samples = [0, 50, 100].flatMap((ms) => [sample('pg1', ms), sample('pg2', ms, closed)]);
      assert.deepEqual(overlapsOf(samples), []);
    }
  });
});
