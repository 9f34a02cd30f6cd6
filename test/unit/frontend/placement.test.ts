/** What waits while there is no primary. Pools are told what they can take; nothing is sent. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { Deadlines } from '../../../src/core/deadlines.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { HoldRoom } from '../../../src/frontend/hold-room.ts';
import { Placement } from '../../../src/frontend/placement.ts';
import type { PlacementRequest } from '../../../src/frontend/placement-request.ts';
import type { Services } from '../../../src/frontend/services.ts';
import { Causality } from '../../../src/routing/causality.ts';
import { Patience } from '../../../src/routing/patience.ts';
import { RoutingFixture } from '../routing/fixture.ts';

const HOLD_MS = 10_000;

describe('a read that is held while there is no primary', () => {
  let model: RoutingFixture;
  let deadlines: Deadlines;
  let failing: Set<string>;
  /** How often it was looked where it may go. */
  let looks: number;
  /** Where it went, or why it did not. */
  let outcome: string | null;
  let placement: Placement;
  let clockMs: number;

  beforeEach(() => {
    clockMs = 1000;
    mock.method(performance, 'now', () => clockMs);
    model = new RoutingFixture();
    const { cluster } = model;
    deadlines = new Deadlines();
    failing = new Set();
    looks = 0;
    outcome = null;
    const load = (node: string) => {
      looks++;
      return failing.has(node) ? Number.POSITIVE_INFINITY : 0;
    };
    const of = () => ({ checkout: () => ({}), failing: null, shared: { seat: () => null } });
    const config = () => ({
      routing: { freshness_wait: 0 },
      failover: { hold: HOLD_MS },
      pool: { checkout_timeout: 1000 },
    });
    const services = { cluster, deadlines, config, holdRoom: new HoldRoom(cluster), patience: new Patience() };
    placement = new Placement({ ...services, pools: { load, of } } as unknown as Services, {
      placed: ({ node }) => {
        outcome = node.name;
      },
      unplaceable: ({ code }) => {
        outcome = code;
      },
    });
    cluster.vigil.beat(clockMs);
    model.fail('pg1');
    model.assign(null, 1);
  });

  afterEach(() => mock.restoreAll());

  function pass(ms: number): void {
    const untilMs = clockMs + ms;
    while (clockMs < untilMs) {
      clockMs = Math.min(clockMs + 50, untilMs);
      model.cluster.vigil.beat(clockMs);
      deadlines.sweep(clockMs);
    }
  }

  /** @param floor what its session has seen */
  function seek(floor: bigint, more: Partial<PlacementRequest> = {}): void {
    const causality = new Causality();
    causality.timeline = 1;
    causality.floor = lsn(floor);
    const read = {
      consistency: 'session',
      maxStalenessMs: null,
      hint: null,
      causality,
      replicaReason: null,
      tables: null,
    };
    const request = { database: 'd', identity: {}, read, reason: 'write', readOnly: false, rider: null, avoid: null };
    placement.seek({ ...request, ...more } as unknown as PlacementRequest);
    // the wait for freshness is over
    pass(1);
    assert.equal(placement.waitingFor, 'hold');
  }

  it('goes to the replica that has caught up', () => {
    seek(200n);
    model.observe('pg2', 200n);
    assert.equal(outcome, 'pg2');
  });

  it('looks again by itself, for nobody tells when a pool takes connections again', () => {
    model.observe('pg2', 200n);
    failing.add('pg2');
    seek(200n);
    pass(50);
    assert.equal(outcome, null);
    failing.clear();
    pass(100);
    assert.equal(outcome, 'pg2');
  });

  it('tries again where it was refused before it was held', () => {
    model.observe('pg2', 200n);
    failing.add('pg2');
    seek(200n);
    failing.clear();
    pass(50);
    assert.equal(outcome, 'pg2');
  });

  it('does not look at each step of a replica that it avoids', () => {
    model.observe('pg2', 200n);
    seek(200n, { avoid: new Set(['pg2']) });
    const before = looks;
    for (let step = 201n; step < 400n; step++) {
      model.cluster.observations.advance('pg2', { lsn: lsn(step), askedMs: clockMs, answeredMs: clockMs });
    }
    assert.equal(looks, before);
    assert.equal(outcome, null);
    model.observe('pg3', 200n);
    pass(50);
    assert.equal(outcome, 'pg3');
  });

  it('looks less and less often, and no longer than sessions are held', () => {
    seek(200n);
    const before = looks;
    pass(HOLD_MS - 100);
    assert.equal(outcome, null);
    // at both replicas; every 400 ms after a while
    assert.ok(looks - before < 2 * 40, `${looks - before} looks`);
    pass(100);
    assert.equal(outcome, 'no_primary');
  });
});
