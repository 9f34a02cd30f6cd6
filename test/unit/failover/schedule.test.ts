import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { UNASSIGNED } from '../../../src/cluster/assignment.ts';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { configSchema } from '../../../src/config/config.ts';
import { FairleadError } from '../../../src/core/errors.ts';
import { SILENT } from '../../../src/core/log.ts';
import type { SwitchoverWish } from '../../../src/failover/controller.ts';
import { Schedule } from '../../../src/failover/schedule.ts';
import { until } from '../../support/wait.ts';

type Told = { readonly kind: string; readonly message: string; readonly detail: object };

describe('a switchover that is scheduled', () => {
  let cluster: Cluster;
  let events: Told[];
  let made: SwitchoverWish[];
  let refusal: Error | null;
  const running: Schedule[] = [];

  const start = (mode: 'automatic' | 'off' = 'automatic') => {
    cluster = new Cluster([], { ms: 1000, bytes: null });
    const config = configSchema.parse({
      cluster: { user: 'u', nodes: { pg1: 'h:1' } },
      failover: { mode },
    });
    const schedule = new Schedule(cluster, {
      ...{ config, log: SILENT },
      store: { latestEvent: async (_node, kinds) => events.findLast(({ kind }) => kinds.includes(kind)) ?? null },
      event: (kind, message, detail) => void events.push({ kind, message, detail }),
      switchover: async (wish) => {
        made.push(wish);
        if (refusal !== null) throw refusal;
      },
    });
    schedule.start();
    running.push(schedule);
    return schedule;
  };
  const adopt = () => cluster.assignment.set({ ...UNASSIGNED, primary: 'pg1', phase: 'steady', epoch: 1 });
  const kinds = () => events.map(({ kind }) => kind);

  beforeEach(() => {
    events = [];
    made = [];
    refusal = null;
  });
  afterEach(async () => {
    for (const schedule of running.splice(0)) await schedule.stop();
  });

  it('is made when its time has come, once', async () => {
    const schedule = start();
    schedule.set({ to: 'pg2', waitMs: 700 }, Date.now() + 1000);
    assert.equal(cluster.operator.value.scheduled?.to, 'pg2');
    assert.throws(() => schedule.set({}, Date.now() + 9000), /scheduled already/);
    assert.deepEqual(made, []);
    await until(() => made.length > 0, { what: 'the switchover' });
    assert.deepEqual(made, [{ to: 'pg2', waitMs: 700 }]);
    assert.equal(cluster.operator.value.scheduled, null);
    assert.deepEqual(kinds(), ['switchover-scheduled', 'switchover-due']);
  });

  it('that is refused then is told, and not tried again', async () => {
    refusal = new FairleadError('refused', 'there is no replica');
    start().set({}, Date.now() + 1000);
    await until(() => kinds().includes('switchover-refused'), { what: 'the refusal' });
    assert.match(events.at(-1)?.message ?? '', /was not made, and is not tried again: there is no replica/);
    assert.equal(made.length, 1);
  });

  it('is not made once it is cancelled', async () => {
    const schedule = start();
    schedule.set({}, Date.now() + 60_000);
    assert.equal(schedule.cancel()?.to, null);
    assert.equal(schedule.cancel(), null);
    assert.equal(cluster.operator.value.scheduled, null);
    assert.deepEqual(kinds(), ['switchover-scheduled', 'switchover-cancelled']);
  });

  it('is refused for the past, and where Fairlead promotes nobody', () => {
    assert.throws(() => start().set({}, Date.now() - 1), /is over/);
    assert.throws(() => start('off').set({}, Date.now() + 9000), /failover.mode is off/);
  });

  it('is found again after a restart, unless it was cancelled or its time is over', async () => {
    const atMs = Date.now() + 60_000;
    start().set({ to: 'pg3' }, atMs);
    const next = start();
    assert.equal(cluster.operator.value.scheduled, null, 'nobody is primary yet');
    adopt();
    await until(() => cluster.operator.value.scheduled, { what: 'what was scheduled' });
    assert.deepEqual(cluster.operator.value.scheduled, { atMs, to: 'pg3', waitMs: null });
    next.cancel();
    start();
    adopt();
    const past = { node: null, scheduledFor: new Date(Date.now() - 5000).toISOString(), waitMs: null };
    events.push({ kind: 'switchover-scheduled', message: '', detail: past });
    await until(() => kinds().includes('switchover-missed'), { what: 'that it was missed' });
    assert.equal(cluster.operator.value.scheduled, null);
    assert.deepEqual(made, []);
  });
});
