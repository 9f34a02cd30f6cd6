import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import { Cluster } from '../../../src/cluster/cluster.ts';
import type { NodeConfig } from '../../../src/config/config.ts';
import { nowMs, wallMs } from '../../../src/core/clock.ts';
import { lsn } from '../../../src/core/lsn.ts';
import type { ModelChange } from '../../../src/workers/messages.ts';
import { ModelFeed } from '../../../src/workers/model-feed.ts';
import { ModelMirror } from '../../../src/workers/model-mirror.ts';
import { NO_TLS } from '../../support/server-tls.ts';

const NODES = ['pg1', 'pg2'].map(
  (name, i): NodeConfig => ({
    name,
    host: '10.0.0.1',
    port: 5432 + i,
    zone: null,
    weight: 1,
    promotable: true,
    tls: NO_TLS,
  }),
);
const LIMIT = { ms: null, bytes: 1000 };

/** A model, and what a worker has of it: everything that is told goes through what the channel does with it. */
class Scene {
  readonly control = new Cluster(NODES, LIMIT);
  readonly worker = new Cluster(NODES, LIMIT);
  readonly awaited: bigint[] = [];
  samples = 0;
  readonly #mirror = new ModelMirror(this.worker, {
    sample: async () => ({ timeline: 1, lsn: lsn(BigInt(++this.samples)) }),
    await: (position) => void this.awaited.push(position),
  });
  readonly #feed = new ModelFeed(this.control, (changes) => this.tell(changes));

  tell(changes: readonly ModelChange[]): void {
    this.#mirror.apply(deserialize(serialize(changes)) as ModelChange[]);
  }

  /** As a worker begins. */
  begin(): void {
    this.#feed.flush();
    this.tell(this.#feed.everything());
  }

  flush(): void {
    this.#feed.flush();
  }

  assign(primary: string | null): void {
    const { assignment } = this.control;
    assignment.set(Object.freeze({ ...assignment.value, epoch: assignment.value.epoch + 1, primary, timeline: 1 }));
  }

  observe(node: string, replayLsn: bigint, askedMs = nowMs()): void {
    this.control.observations.record({
      node,
      sequence: 1,
      startedMs: askedMs,
      finishedMs: askedMs + 0.1,
      role: node === 'pg1' ? 'primary' : 'replica',
      systemId: '1',
      timeline: 1,
      version: 180004,
      replayLsn: lsn(replayLsn),
      receiveLsn: lsn(replayLsn),
      replayPaused: false,
      receiver: null,
      clockOffsetMs: 0,
      walLevel: 'logical',
      readOnly: false,
    });
  }

  /** What can be seen of both. */
  assertSame(): void {
    const seen = (cluster: Cluster) => ({
      topology: cluster.topology.value.nodes.map(({ name, role, state, readable }) => ({
        name,
        role,
        state,
        readable,
      })),
      primary: cluster.topology.value.primary?.name,
      epoch: cluster.topology.value.epoch,
      positions: NODES.map(({ name }) => cluster.replayLsn(name)),
      lag: NODES.map(({ name }) => cluster.lag(name)?.bytes),
      newest: cluster.commits.newestLsn,
      oldest: cluster.commits.oldestAfter(lsn(0n)),
      changes: [1, 2, 3].map((relation) => cluster.freshness.lastChange(relation)),
      asOf: cluster.freshness.asOf,
      drained: [...cluster.operator.value.drained],
    });
    assert.deepEqual(seen(this.worker), seen(this.control));
  }
}

describe('the copy of the model', () => {
  it('follows every table', () => {
    const scene = new Scene();
    const { control } = scene;
    scene.begin();
    scene.assertSame();
    scene.assign('pg1');
    scene.observe('pg1', 5000n);
    scene.observe('pg2', 4900n);
    control.commits.record(lsn(4950n), wallMs());
    control.freshness.touch(1, lsn(4950n));
    control.freshness.toldUntil(lsn(4950n));
    control.operator.set(Object.freeze({ ...control.operator.value, drained: new Set(['pg2']) }));
    control.freshness.touchAll(lsn(4960n));
    control.freshness.touch(2, lsn(4970n));
    scene.flush();
    scene.assertSame();
    control.observations.advance('pg2', { lsn: lsn(5000n), askedMs: nowMs(), answeredMs: nowMs() });
    control.commits.reset();
    control.freshness.schemaChanged(700);
    control.freshness.reset(lsn(5100n), 2);
    control.freshness.schemaStartedBefore(701n);
    scene.assign(null);
    const failure = { node: 'pg1', sequence: 2, startedMs: nowMs(), finishedMs: nowMs(), message: 'refused' };
    control.observations.recordFailure({ ...failure, kind: 'refused' });
    scene.flush();
    scene.assertSame();
  });

  it('begins with everything, so that a replica that lags lags here too', () => {
    const scene = new Scene();
    const { control } = scene;
    scene.assign('pg1');
    const atMs = nowMs();
    scene.observe('pg1', 9000n, atMs - 500);
    scene.observe('pg2', 5000n, atMs);
    // the primary was asked again, just after the replica: what it said before is what compares
    scene.observe('pg1', 9100n, atMs + 0.3);
    for (let i = 1n; i <= 5n; i++) control.commits.record(lsn(8000n + i), wallMs() - 100 + Number(i) * 10);
    control.freshness.touch(3, lsn(8005n));
    assert.equal(control.topology.value.byName.get('pg2')?.state, 'lagging');
    scene.begin();
    scene.assertSame();
    assert.equal(scene.worker.topology.value.replicas.length, 0);
  });

  it('tells what is waited for, and when nobody waits any more', () => {
    const scene = new Scene();
    scene.begin();
    const waiter = (position: bigint) => ({ lsn: lsn(position), wake() {} });
    const { waiters } = scene.worker;
    waiters.add(waiter(10n));
    waiters.add(waiter(5n));
    waiters.add(waiter(30n));
    assert.deepEqual(scene.awaited, [10n, 30n]);
    scene.assign('pg1');
    scene.observe('pg1', 100n);
    scene.observe('pg2', 20n);
    scene.flush();
    // a change of the topology wakes everybody; nobody has come again
    assert.deepEqual(scene.awaited, [10n, 30n, 0n]);
  });

  it('shares samples that are under way, and never one that began before it was wanted', async () => {
    const scene = new Scene();
    const { samples } = scene.worker;
    const first = samples.next;
    const told = await new Promise<bigint>((resolve) => samples.wait(first, () => resolve(samples.lsn)));
    assert.equal(told, 1n);
    const all = [samples.next, samples.next].map(
      (index) => new Promise<bigint>((resolve) => samples.wait(index, () => resolve(samples.lsn))),
    );
    assert.deepEqual(await Promise.all(all), [2n, 2n]);
    assert.equal(scene.samples, 2);
  });
});
