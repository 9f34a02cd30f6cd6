import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nowMs, wallMs } from '../../../src/core/clock.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { Causality } from '../../../src/routing/causality.ts';
import type { RouteDecision } from '../../../src/routing/decision.ts';
import { nextTurn, type ReadRequest, routeRead } from '../../../src/routing/route-read.ts';
import { Catalog } from '../../../src/sql/catalog.ts';
import { CatalogTables } from '../../../src/sql/catalog-tables.ts';
import { RoutingFixture } from './fixture.ts';

const REQUEST: Omit<ReadRequest, 'causality'> = {
  consistency: 'session',
  maxStalenessMs: null,
  hint: null,
  strongSample: 0,
  waited: false,
  waitOver: false,
  avoid: null,
  replicaReason: null,
  tables: null,
};

function causalityAt(position: bigint): Causality {
  const causality = new Causality();
  causality.timeline = 1;
  causality.floor = lsn(position);
  return causality;
}

/** `pg1 no replica`, `wait 0x…`, `sample 1`, `hold`, `hold, or wait 0x…`; `replica` for either of the two. */
function said(decision: RouteDecision): string {
  if (decision.kind === 'node') {
    const { name } = decision.node;
    return `${name === 'pg1' ? 'pg1' : 'replica'} ${decision.reason}`;
  }
  if (decision.kind === 'wait') return `wait ${decision.lsn}`;
  if (decision.kind === 'sample') return `sample ${decision.index}`;
  return decision.news === null ? 'hold' : `hold, or ${said(decision.news)}`;
}

type Case = {
  readonly name: string;
  readonly request?: Partial<ReadRequest>;
  readonly prepare?: (fixture: RoutingFixture) => void;
  readonly load?: (node: string) => number;
  readonly expected: string;
};

const both = new Set(['pg2', 'pg3']);

const CASES: readonly Case[] = [
  { name: 'a session that did nothing reads anywhere', expected: 'replica fresh replica' },
  { name: 'all is held in a pause', prepare: (f) => f.pause(), expected: 'hold' },
  {
    name: 'a pause counts more than a hint',
    prepare: (f) => f.pause(),
    request: { hint: 'primary' },
    expected: 'hold',
  },
  { name: 'a hint sends to the primary', request: { hint: 'primary' }, expected: 'pg1 hint primary' },
  {
    name: 'a hint for the primary is held without one',
    request: { hint: 'primary' },
    prepare: (f) => f.assign(null, 1),
    expected: 'hold',
  },
  {
    name: 'without a primary a read goes on where its session finds what it must see',
    prepare: (f) => f.assign(null, 1),
    expected: 'replica fresh replica',
  },
  { name: 'so does the consistency', request: { consistency: 'primary' }, expected: 'pg1 consistency primary' },
  {
    name: 'a hint for a replica counts more than consistency primary',
    request: { consistency: 'primary', hint: 'replica' },
    expected: 'replica hint replica',
  },
  {
    name: 'a statement gives its own reason',
    request: { replicaReason: 'read only transaction', waited: true },
    expected: 'replica read only transaction',
  },
  { name: 'after a wait it has caught up', request: { waited: true }, expected: 'replica caught up' },
  { name: 'without replicas', prepare: (f) => f.drain('pg2', 'pg3'), expected: 'pg1 no replica' },
  {
    name: 'without anything',
    prepare: (f) => {
      f.drain('pg2', 'pg3');
      f.assign(null, 1);
    },
    expected: 'hold',
  },
  { name: 'when both replicas refused', request: { avoid: both }, expected: 'pg1 retry' },
  {
    name: 'when the only one left refused',
    request: { avoid: new Set(['pg2']) },
    prepare: (f) => f.drain('pg3'),
    expected: 'pg1 retry',
  },
  { name: 'when one refused', request: { avoid: new Set(['pg2']) }, expected: 'replica fresh replica' },
  { name: 'waits for what it has written', request: { causality: causalityAt(101n) }, expected: 'wait 101' },
  {
    name: 'waits no longer than it may',
    request: { causality: causalityAt(101n), waited: true, waitOver: true },
    expected: 'pg1 no fresh replica',
  },
  {
    name: 'without a primary it waits for a replica as long as it is held',
    request: { causality: causalityAt(101n), waited: true, waitOver: true },
    prepare: (f) => f.assign(null, 1),
    expected: 'hold, or wait 101',
  },
  {
    name: 'or for where the primary was that hands over',
    request: { consistency: 'strong', strongSample: 1, waited: true, waitOver: true },
    prepare: (f) => f.assign(null, 1),
    expected: 'hold, or sample 1',
  },
  { name: 'reads what is just there', request: { causality: causalityAt(100n) }, expected: 'replica fresh replica' },
  {
    name: 'eventual does not care what it has written',
    request: { causality: causalityAt(9999n), consistency: 'eventual' },
    expected: 'replica fresh replica',
  },
  {
    name: 'a busy replica that does not answer is not tried',
    load: () => Number.POSITIVE_INFINITY,
    expected: 'wait 0',
  },
  {
    name: 'and the primary takes it when the wait is over',
    load: () => Number.POSITIVE_INFINITY,
    request: { waitOver: true },
    expected: 'pg1 no fresh replica',
  },
  {
    name: 'bounded staleness leaves out who is behind',
    request: { maxStalenessMs: 500 },
    prepare: (f) => f.cluster.commits.record(lsn(200n), wallMs() - 1000),
    expected: 'wait 0',
  },
  {
    name: 'bounded staleness takes who is not',
    request: { maxStalenessMs: 500 },
    prepare: (f) => f.cluster.commits.record(lsn(100n), wallMs() - 1000),
    expected: 'replica fresh replica',
  },
  {
    name: 'strong needs a sample that started after the statement came',
    request: { consistency: 'strong', strongSample: 1 },
    expected: 'sample 1',
  },
  {
    name: 'strong does not wait for a sample for ever',
    request: { consistency: 'strong', strongSample: 1, waitOver: true },
    expected: 'pg1 no fresh replica',
  },
  {
    name: 'strong waits for all that the primary had',
    request: { consistency: 'strong', strongSample: 1 },
    prepare: (f) => f.sample(120n),
    expected: 'wait 120',
  },
  {
    name: 'strong reads from who has it',
    request: { consistency: 'strong', strongSample: 1 },
    prepare: (f) => f.sample(100n),
    expected: 'replica fresh replica',
  },
];

describe('routeRead', () => {
  for (const { name, request, prepare, load, expected } of CASES) {
    it(name, () => {
      const fixture = new RoutingFixture();
      prepare?.(fixture);
      const decision = routeRead(
        { ...REQUEST, causality: new Causality(), ...request },
        fixture.cluster,
        load ?? (() => 0),
      );
      assert.equal(said(decision), expected);
    });
  }

  it('asks for a sample after a statement on the primary, then for the position it told', () => {
    const fixture = new RoutingFixture();
    const { cluster } = fixture;
    const causality = new Causality();
    causality.ranOnPrimary(cluster.samples.next);
    const decide = () => said(routeRead({ ...REQUEST, causality }, cluster, () => 0));
    assert.equal(decide(), 'sample 1');
    fixture.sample(150n);
    assert.equal(decide(), 'wait 150');
    fixture.observe('pg3', 150n);
    assert.equal(decide(), 'replica fresh replica');
  });

  it('reads again from the replica last read until it is known what that one had shown', () => {
    const fixture = new RoutingFixture();
    const { cluster } = fixture;
    const causality = new Causality();
    causality.ranOnReplica('pg2', nowMs() + 10_000);
    const decide = (avoid: ReadonlySet<string> | null = null) =>
      routeRead({ ...REQUEST, causality, avoid }, cluster, (node) => (node === 'pg2' ? 100 : 0));
    for (let i = 0; i < 4; i++) {
      const decision = decide();
      assert.equal(
        decision.kind === 'node' && decision.node.name,
        'pg2',
        'busier, but the only one that is surely not older',
      );
    }
    causality.ranOnReplica('pg2', nowMs());
    fixture.observe('pg2', 130n);
    assert.equal(said(decide(new Set(['pg2']))), 'wait 130');
  });

  it('is bound by the primary when the replica last read is gone', () => {
    const fixture = new RoutingFixture();
    const { cluster } = fixture;
    const causality = new Causality();
    causality.ranOnReplica('pg2', nowMs() + 10_000);
    fixture.fail('pg2');
    assert.equal(said(routeRead({ ...REQUEST, causality }, cluster, () => 0)), 'sample 1');
    fixture.sample(100n);
    const decision = routeRead({ ...REQUEST, causality }, cluster, () => 0);
    assert.equal(decision.kind === 'node' && decision.node.name, 'pg3');
  });

  it('prefers the least busy for its weight; equals take turns', () => {
    const chosen = (fixture: RoutingFixture, load: (node: string) => number) => {
      const counts: Record<string, number> = {};
      for (let i = 0; i < 100; i++) {
        const decision = routeRead({ ...REQUEST, causality: new Causality() }, fixture.cluster, load);
        nextTurn();
        if (decision.kind === 'node') counts[decision.node.name] = (counts[decision.node.name] ?? 0) + 1;
      }
      return counts;
    };
    assert.deepEqual(
      chosen(new RoutingFixture(), () => 3),
      { pg2: 50, pg3: 50 },
    );
    assert.deepEqual(
      chosen(new RoutingFixture(), (node) => (node === 'pg2' ? 3 : 2)),
      { pg3: 100 },
    );
    assert.deepEqual(
      chosen(new RoutingFixture([1, 3, 1]), (node) => (node === 'pg2' ? 5 : 2)),
      { pg2: 100 },
    );
  });
});

describe('routeRead with replicas beyond max_lag', () => {
  const TABLE = 16_400;

  /** Replicas at 100, the primary's last commit of long ago at 200; the stream has told up to `asOf`. */
  function prepare({ changedAt, asOf }: { readonly changedAt: bigint; readonly asOf: bigint }) {
    const fixture = new RoutingFixture();
    const { commits, freshness } = fixture.cluster;
    freshness.reset(lsn(50n), 1);
    freshness.touch(TABLE, lsn(changedAt));
    freshness.toldUntil(lsn(asOf));
    commits.record(lsn(200n), wallMs() - 60_000);
    for (const name of ['pg1', 'pg2', 'pg3']) fixture.observe(name, name === 'pg1' ? 200n : 100n);
    const now = { lsn: '0/1', snapshot: '1:1:' };
    const tables = new CatalogTables([{ kind: 'now', schema: null, name: '', info: now }]);
    const catalog = Catalog.from([], null, tables);
    catalog.stamp.schemaVersion = freshness.schema.version;
    const request: ReadRequest = {
      ...REQUEST,
      causality: causalityAt(200n),
      tables: { oids: [TABLE], stamp: catalog.stamp, tellsTime: false, plain: true },
    };
    return { fixture, request, decide: () => said(routeRead(request, fixture.cluster, () => 0)) };
  }

  it('reads what has not changed since', () => {
    assert.equal(prepare({ changedAt: 90n, asOf: 200n }).decide(), 'replica fresh tables');
  });

  it('goes to the primary at once for what has changed: to wait for replay would be in vain', () => {
    assert.equal(prepare({ changedAt: 150n, asOf: 200n }).decide(), 'pg1 no fresh replica');
    assert.equal(prepare({ changedAt: 150n, asOf: 180n }).decide(), 'pg1 no fresh replica');
  });

  it('waits for the stream to tell whether what it reads has changed', () => {
    const { fixture, decide } = prepare({ changedAt: 90n, asOf: 180n });
    assert.equal(decide(), 'wait 200');
    fixture.cluster.freshness.toldUntil(lsn(200n));
    assert.equal(decide(), 'replica fresh tables');
  });

  it('waits for a replica that is within max_lag', () => {
    const { fixture, decide } = prepare({ changedAt: 150n, asOf: 200n });
    fixture.observe('pg3', 200n);
    assert.equal(decide(), 'replica fresh replica');
    const other = prepare({ changedAt: 150n, asOf: 200n });
    other.fixture.cluster.setMaxLag({ ms: 100_000, bytes: null });
    assert.equal(other.decide(), 'wait 150');
  });
});
