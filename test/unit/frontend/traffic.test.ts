import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Traffic } from '../../../src/frontend/traffic.ts';
import { sumOfTraffic, trafficSnapshot } from '../../../src/frontend/traffic-snapshot.ts';
import { ROUTE_REASONS } from '../../../src/routing/decision.ts';

describe('Traffic', () => {
  it('counts by node, class and reason', () => {
    const traffic = new Traffic(['pg1', 'pg2'], 0);
    for (let i = 0; i < 30; i++) traffic.record(1, 'read', 'fresh replica', 1, 500);
    for (let i = 0; i < 10; i++) traffic.record(0, 'read', 'no fresh replica', 3, 600);
    for (let i = 0; i < 20; i++) traffic.record(0, 'write', 'write', 5, 700);
    traffic.recordError(800);
    traffic.recordRetry(900);
    const seen = traffic.snapshot(2000);
    assert.equal(seen.statements.total, 60);
    assert.equal(seen.statements.perSecond, 30);
    assert.deepEqual(seen.reads, { total: 40, perSecond: 20 });
    assert.deepEqual(seen.errors, { total: 1, perSecond: 0.5 });
    assert.equal(seen.retries.total, 1);
    assert.equal(seen.readsOnReplicas, 0.75);
    assert.equal(seen.nodes[0]?.readShare, 0.25);
    assert.equal(seen.nodes[0]?.writes.total, 20);
    assert.deepEqual(
      seen.flows.map((f) => [f.node, f.class, f.reason, f.total, f.share, f.onReplica]),
      [
        ['pg1', 'write', 'write', 20, null, false],
        ['pg1', 'read', 'no fresh replica', 10, 0.25, false],
        ['pg2', 'read', 'fresh replica', 30, 0.75, true],
      ],
    );
    assert.ok(Math.abs((seen.latencyMs.read.p50 as number) - 1) < 0.02);
    assert.ok(Math.abs((seen.latencyMs.read.p99 as number) - 3) < 0.05);
    assert.ok(Math.abs((seen.latencyMs.write.p999 as number) - 5) < 0.1);
  });

  it('lets rates fall to nothing and keeps totals', () => {
    const traffic = new Traffic(['pg1'], 0);
    traffic.record(0, 'read', 'fresh replica', 1, 100);
    const later = traffic.snapshot(200_000);
    assert.deepEqual(later.reads, { total: 1, perSecond: 0 });
    assert.equal(later.readsOnReplicas, null);
    assert.equal(later.readsOnReplicasEver, 1);
    assert.equal(later.latencyMs.read.p50, null);
  });

  it('goes on counting when a node joins', () => {
    const traffic = new Traffic(['pg1'], 0);
    traffic.record(0, 'write', 'write', 5, 100);
    traffic.recordError(150);
    const before = traffic.counts(200);
    traffic.widen(['pg1', 'pg2']);
    traffic.record(1, 'read', 'fresh replica', 1, 1200);
    traffic.recordRetry(1300);
    const seen = traffic.snapshot(3000);
    assert.deepEqual(
      seen.nodes.map(({ name, total, latencyMs }) => [name, total, latencyMs.p50 !== null]),
      [
        ['pg1', 1, true],
        ['pg2', 1, true],
      ],
    );
    assert.deepEqual([seen.errors.total, seen.retries.total, seen.readsOnReplicas], [1, 1, 1]);
    assert.ok(seen.reads.perSecond > 0 && seen.writes.perSecond > 0);
    // another process has not heard of the node yet
    for (const all of [
      [before, traffic.counts(3000)],
      [traffic.counts(3000), before],
    ]) {
      const { nodes, errors } = trafficSnapshot(sumOfTraffic(all), ['pg1', 'pg2']);
      assert.deepEqual([nodes.map(({ total }) => total), errors.total], [[2, 1], 2]);
    }
    const { nodes } = trafficSnapshot(before, ['pg1', 'pg2']);
    assert.deepEqual(
      nodes.map(({ total, latencyMs }) => [total, latencyMs.p99 !== null]),
      [
        [1, true],
        [0, false],
      ],
    );
  });

  it('has a column for every reason', () => {
    const traffic = new Traffic(['pg1'], 0);
    for (const reason of ROUTE_REASONS) traffic.record(0, 'other', reason, 1, 1);
    assert.deepEqual(
      traffic.snapshot(2000).flows.map((f) => f.reason),
      [...ROUTE_REASONS],
    );
  });
});
