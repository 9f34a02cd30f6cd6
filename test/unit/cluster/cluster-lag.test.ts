import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import type { Observation } from '../../../src/cluster/observation.ts';
import { configSchema, nodesOf } from '../../../src/config/config.ts';
import { nowMs, wallMsOf } from '../../../src/core/clock.ts';
import { lsn } from '../../../src/core/lsn.ts';

function clusterOfTwo(): Cluster {
  const nodes = { pg1: '127.0.0.1:1', pg2: '127.0.0.1:2' };
  const cluster = new Cluster(nodesOf(configSchema.parse({ cluster: { user: 'u', nodes } })), {
    ms: 10_000,
    bytes: null,
  });
  cluster.assignment.set({
    ...cluster.assignment.value,
    epoch: 1,
    primary: 'pg1',
    timeline: 1,
    systemId: 's',
    phase: 'steady',
  });
  return cluster;
}

function seen(node: string, role: Observation['role'], position: bigint, startedMs: number): Observation {
  return {
    node,
    sequence: 1,
    startedMs,
    finishedMs: startedMs + 1,
    role,
    systemId: 's',
    timeline: 1,
    version: 180_000,
    replayLsn: lsn(position),
    receiveLsn: lsn(position),
    replayPaused: false,
    receiver: null,
    clockOffsetMs: 0,
    walLevel: 'logical',
    readOnly: false,
  };
}

describe('lag of a replica', () => {
  it('is zero for a replica that had everything when it was asked, whatever was committed since', () => {
    const cluster = clusterOfTwo();
    const askedMs = nowMs() - 400;
    cluster.observations.record(seen('pg1', 'primary', 1000n, askedMs));
    cluster.observations.record(seen('pg2', 'replica', 1000n, askedMs));
    cluster.commits.record(lsn(1000n), wallMsOf(askedMs - 5));
    cluster.commits.record(lsn(2000n), wallMsOf(askedMs + 100));
    assert.deepEqual(cluster.lag('pg2'), { bytes: 0, ms: 0 });
  });

  it('is the age of the oldest commit that it had not replayed when it was asked', () => {
    const cluster = clusterOfTwo();
    const askedMs = nowMs() - 100;
    cluster.observations.record(seen('pg1', 'primary', 3000n, askedMs));
    cluster.observations.record(seen('pg2', 'replica', 1000n, askedMs));
    cluster.commits.record(lsn(2000n), wallMsOf(askedMs - 1500));
    cluster.commits.record(lsn(3000n), wallMsOf(askedMs - 700));
    const lag = cluster.lag('pg2');
    assert.equal(lag?.bytes, 2000);
    assert.ok(Math.abs((lag?.ms ?? 0) - 1500) < 0.01);
  });

  it('grows with the clock while the replica does not answer', () => {
    const cluster = clusterOfTwo();
    const askedMs = nowMs() - 5000;
    cluster.observations.record(seen('pg2', 'replica', 1000n, askedMs));
    cluster.commits.record(lsn(2000n), wallMsOf(askedMs + 1000));
    assert.equal(cluster.lag('pg2')?.ms, 0);
    cluster.observations.recordFailure({
      node: 'pg2',
      sequence: 2,
      startedMs: askedMs + 500,
      finishedMs: askedMs + 1500,
      kind: 'hung',
      message: 'late',
    });
    assert.ok((cluster.lag('pg2')?.ms ?? 0) >= 4000);
  });

  it('takes a position that was asked for later, and wakes who waited for it', () => {
    const cluster = clusterOfTwo();
    const askedMs = nowMs();
    cluster.observations.record(seen('pg2', 'replica', 1000n, askedMs));
    const { version } = cluster.topology.value;
    let woken = 0;
    cluster.waiters.add({ lsn: lsn(1500n), wake: () => woken++ });
    cluster.observations.advance('pg2', { lsn: lsn(1400n), askedMs: askedMs + 1, answeredMs: askedMs + 1 });
    assert.equal(woken, 0);
    cluster.observations.advance('pg2', { lsn: lsn(1500n), askedMs: askedMs + 2, answeredMs: askedMs + 2 });
    assert.equal(woken, 1);
    assert.equal(cluster.topology.value.version, version, 'derives nothing');
    // a probe that was sent before and answers after it
    cluster.observations.record(seen('pg2', 'replica', 1200n, askedMs + 1));
    assert.equal(cluster.replayLsn('pg2'), 1500n);
    // promoted: what a replica said does not compare
    cluster.observations.record(seen('pg2', 'primary', 1100n, askedMs + 1));
    assert.equal(cluster.replayLsn('pg2'), 1100n);
  });
});
