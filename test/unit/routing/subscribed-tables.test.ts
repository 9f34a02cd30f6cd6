import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { Subscription } from '../../../src/cluster/observation.ts';
import { nowMs } from '../../../src/core/clock.ts';
import { LSN_ZERO, type Lsn, lsn } from '../../../src/core/lsn.ts';
import { Causality } from '../../../src/routing/causality.ts';
import { type ReadRequest, routeRead } from '../../../src/routing/route-read.ts';
import type { TablesRead } from '../../../src/sql/tables-read.ts';
import { RoutingFixture } from './fixture.ts';

const T = 20_000;
const U = 20_001;

/** `pg3` is a subscriber at 200 that has T; the stream has told everything up to 300, T was changed at 90, U at 80; the replica stands at 10. */
describe('a read on a subscriber', () => {
  let fixture: RoutingFixture;
  let causality: Causality;
  let version: number;

  beforeEach(() => {
    fixture = new RoutingFixture();
    causality = new Causality();
    causality.timeline = 1;
    causality.floor = lsn(150n);
    const { freshness } = fixture.cluster;
    freshness.reset(lsn(20n), 1);
    freshness.schemaStartedBefore(500n);
    freshness.touch(T, lsn(90n));
    freshness.touch(U, lsn(80n));
    freshness.toldUntil(lsn(300n));
    version = freshness.schema.version;
    fixture.observe('pg2', 10n);
    see({});
  });

  function see(change: Partial<Subscription>, position: Lsn = lsn(200n), timeline = 1): void {
    const at = nowMs();
    fixture.cluster.observations.record({
      node: 'pg3',
      sequence: 1,
      startedMs: at,
      finishedMs: at,
      role: 'subscriber',
      systemId: '2',
      timeline,
      version: 180_004,
      replayLsn: position,
      receiveLsn: position,
      replayPaused: false,
      receiver: null,
      clockOffsetMs: 0,
      walLevel: 'replica',
      readOnly: false,
      subscription: {
        obstacle: null,
        worker: '16400:1',
        reachLsn: position,
        tables: new Set([T]),
        schemaVersion: version,
        comparedLsn: lsn(100n),
        leftOut: [],
        ...change,
      },
    });
  }

  function route(tables: Partial<TablesRead> | null = {}, request: Partial<ReadRequest> = {}): string {
    const stamp = { schemaVersion: version, lsn: lsn(100n) };
    const decision = routeRead(
      {
        consistency: 'session',
        maxStalenessMs: null,
        hint: null,
        strongSample: 0,
        waited: false,
        waitOver: true,
        avoid: null,
        replicaReason: null,
        causality,
        tables: tables === null ? null : { oids: [T], stamp, tellsTime: false, plain: true, ...tables },
        ...request,
      },
      fixture.cluster,
      () => 0,
    );
    return decision.kind === 'node' ? decision.node.name : decision.kind;
  }

  it('runs there when it has the tables, and they are fresh', () => assert.equal(route(), 'pg3'));
  it('runs on a replica that is fresh first', () => {
    fixture.observe('pg2', 160n);
    for (let i = 0; i < 5; i++) assert.equal(route(), 'pg2');
  });
  it('does not when a table is missing', () => {
    assert.equal(route({ oids: [T, U] }), 'pg1');
    assert.equal(route({ oids: [] }), 'pg1');
  });
  it('does not when it reads anything else', () => {
    assert.equal(route({ plain: false }), 'pg1');
    assert.equal(route(null), 'pg1');
  });
  it('does not inside of a transaction', () => assert.equal(route({}, { replicaReason: 'split transaction' }), 'pg1'));
  it('does not when the subscriber is not known to follow the primary', () => {
    see({ obstacle: 'it does not' });
    assert.equal(route(), 'pg1');
    see({}, lsn(200n), 0);
    assert.equal(route(), 'pg1');
  });
  it('does not after a failover, before it was seen again', () => {
    fixture.assign('pg2', 2);
    assert.notEqual(route(), 'pg3');
  });
  it('runs there when it is behind, but not in the tables that are read', () => {
    see({}, lsn(95n));
    assert.equal(route(), 'pg3');
    see({}, lsn(85n));
    assert.equal(route(), 'pg1');
    assert.equal(route({}, { waitOver: false }), 'wait');
  });
  it('does not beyond what the stream has told of the schema', () => {
    causality.floor = lsn(301n);
    see({}, lsn(400n));
    assert.equal(route(), 'pg1');
  });
  it('does not when the tables were compared with another schema', () => {
    fixture.cluster.freshness.schemaChanged(600);
    version = fixture.cluster.freshness.schema.version;
    assert.equal(route(), 'pg1');
    see({ schemaVersion: version });
    assert.equal(route(), 'pg3');
    see({ schemaVersion: version, comparedLsn: lsn(301n) });
    assert.equal(route(), 'pg1');
  });
  it('does not when anything may have changed since they were compared', () => {
    fixture.cluster.freshness.touchAll(lsn(120n));
    assert.equal(route(), 'pg1');
    see({ comparedLsn: lsn(130n) });
    assert.equal(route(), 'pg3');
    fixture.cluster.freshness.doubt(lsn(140n));
    assert.equal(route(), 'pg1');
  });
  it('binds the session to the latest that it may have shown', () => {
    causality.ranOnReplica('pg3', nowMs());
    see({ reachLsn: lsn(250n) });
    fixture.observe('pg2', 240n);
    assert.equal(route(null), 'pg1');
    assert.equal(causality.floor, lsn(250n));
  });
  it('is not told by a subscriber that follows somebody else what it has seen', () => {
    causality.ranOnReplica('pg3', nowMs());
    see({ obstacle: 'it follows another' }, lsn(5n), 0);
    assert.equal(route(), 'pg1');
    assert.equal(causality.lostAt, null);
    assert.ok(causality.floor > LSN_ZERO);
  });
});
