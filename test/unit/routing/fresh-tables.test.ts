import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { lsn, parseLsn } from '../../../src/core/lsn.ts';
import { Causality } from '../../../src/routing/causality.ts';
import { type ReadRequest, routeRead } from '../../../src/routing/route-read.ts';
import { Catalog } from '../../../src/sql/catalog.ts';
import { CatalogTables } from '../../../src/sql/catalog-tables.ts';
import { RoutingFixture } from './fixture.ts';

const T = 20_000;
const U = 20_001;

/** Replicas at 100, a session that must see everything up to 200, a stream that has told everything up to 300; a change of T at 90, of U at 250. */
describe('a read of known tables', () => {
  let fixture: RoutingFixture;
  let catalog: Catalog;

  function readCatalog(position: string, snapshot = '1000:1000:'): Catalog {
    const now = { kind: 'now', schema: null, name: '', info: { lsn: position, snapshot } };
    const read = Catalog.from([], null, new CatalogTables([now]));
    const { schema } = fixture.cluster.freshness;
    if (!schema.shows(snapshot)) return read;
    read.stamp.schemaVersion = schema.version;
    read.stamp.lsn = parseLsn(position);
    return read;
  }

  beforeEach(() => {
    fixture = new RoutingFixture();
    const { freshness } = fixture.cluster;
    freshness.reset(lsn(10n), 1);
    freshness.schemaStartedBefore(500n);
    freshness.touch(T, lsn(90n));
    freshness.touch(U, lsn(250n));
    freshness.toldUntil(lsn(300n));
    catalog = readCatalog('0/40');
  });

  function route(oids: readonly number[] | null, request: Partial<ReadRequest> = {}, floor = 200n): string {
    const causality = new Causality();
    causality.timeline = 1;
    causality.floor = lsn(floor);
    const decision = routeRead(
      {
        consistency: 'session',
        maxStalenessMs: null,
        hint: null,
        strongSample: 0,
        waited: false,
        waitOver: false,
        avoid: null,
        replicaReason: null,
        causality,
        tables: oids === null ? null : { oids, stamp: catalog.stamp, tellsTime: false, plain: true },
        ...request,
      },
      fixture.cluster,
      () => 0,
    );
    if (decision.kind === 'node') return `${decision.node.name === 'pg1' ? 'pg1' : 'replica'} ${decision.reason}`;
    return decision.kind === 'wait' ? `wait ${decision.lsn} told ${decision.told}` : decision.kind;
  }

  it('runs on a replica that is behind in others', () => {
    assert.equal(route([T]), 'replica fresh tables');
    assert.equal(route([]), 'replica fresh tables');
    assert.equal(route([T, U]), 'wait 200 told null');
    assert.equal(route(null), 'wait 200 told null');
  });

  it('waits until the stream has told what the session must have seen', () => {
    assert.equal(route([T], {}, 301n), 'wait 301 told 301');
    fixture.cluster.freshness.toldUntil(lsn(301n));
    assert.equal(route([T], {}, 301n), 'replica fresh tables');
  });

  it('waits for the last change, where that is nearer than the floor', () => {
    fixture.cluster.freshness.touch(T, lsn(150n));
    assert.equal(route([T]), 'wait 150 told null');
    fixture.observe('pg2', 150n);
    assert.equal(route([T]), 'replica fresh tables');
  });

  it('takes no catalog that lacks a change of the schema, and none from before the change was visible', () => {
    const { freshness } = fixture.cluster;
    freshness.schemaChanged(990);
    assert.equal(route([T]), 'wait 200 told null', 'a view may read something else since');
    catalog = readCatalog('0/50', '985:1000:990');
    assert.equal(route([T]), 'wait 200 told null', 'it was read before the change was visible');
    catalog = readCatalog('0/50', '985:1000:985');
    assert.equal(route([T]), 'replica fresh tables');
  });

  it('takes no catalog from where the stream has not come yet', () => {
    catalog = readCatalog('0/130');
    assert.equal(route([T]), 'wait 200 told null', 'it may know DDL that replicas do not have');
    fixture.cluster.freshness.toldUntil(lsn(0x130n));
    assert.equal(route([T]), 'replica fresh tables');
  });

  it('knows nothing of another timeline', () => {
    fixture.assign('pg1', 2);
    for (const node of ['pg1', 'pg2', 'pg3']) fixture.observe(node, 100n, 2);
    assert.match(route([T]), /^wait 200/);
  });

  it('runs on replicas beyond max_lag while the stream is not, and on none when it is', () => {
    const { commits, freshness } = fixture.cluster;
    commits.record(lsn(250n), Date.now() - 60_000);
    fixture.observe('pg1', 300n);
    for (const node of ['pg2', 'pg3']) fixture.observe(node, 100n);
    assert.equal(fixture.cluster.topology.value.replicas.length, 0);
    assert.equal(route([T]), 'replica fresh tables');
    assert.equal(route([T], { consistency: 'eventual' }), 'replica fresh tables');
    assert.equal(route([T], { maxStalenessMs: 1000 }), 'replica fresh tables');
    assert.equal(route(null), 'pg1 no replica');
    freshness.toldUntil(lsn(99n));
    assert.match(route([T], { consistency: 'eventual' }), /^wait/, 'nobody knows what the primary has done since');
  });

  it('counts what changed everything for every table', () => {
    fixture.cluster.freshness.touchAll(lsn(160n));
    assert.equal(route([T]), 'wait 160 told null');
    assert.equal(route([]), 'wait 160 told null');
  });
});
