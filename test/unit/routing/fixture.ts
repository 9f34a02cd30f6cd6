/** A model with a primary `pg1` and replicas `pg2` and `pg3`, moved by the test as monitor and controller would. */
import type { Fork } from '../../../src/cluster/assignment.ts';
import { Cluster } from '../../../src/cluster/cluster.ts';
import type { NodeConfig } from '../../../src/config/config.ts';
import { nowMs } from '../../../src/core/clock.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { NO_TLS } from '../../support/server-tls.ts';

export class RoutingFixture {
  readonly cluster: Cluster;
  #sequence = 0;

  constructor(weights: readonly number[] = [1, 1, 1]) {
    const nodes = weights.map(
      (weight, i): NodeConfig => ({
        name: `pg${i + 1}`,
        host: '10.0.0.1',
        port: 5432 + i,
        zone: null,
        weight,
        promotable: true,
        tls: NO_TLS,
      }),
    );
    this.cluster = new Cluster(nodes, { ms: 10_000, bytes: null });
    this.assign('pg1', 1);
    for (const { name } of nodes) this.observe(name, 100n);
  }

  assign(primary: string | null, timeline: number, forks: readonly Fork[] = []): void {
    const { cluster } = this;
    cluster.assignment.set(
      Object.freeze({
        ...cluster.assignment.value,
        epoch: cluster.assignment.value.epoch + 1,
        primary,
        timeline,
        forks,
        phase: primary === null ? 'suspect' : 'steady',
        reason: 'the test says so',
      }),
    );
  }

  /** A probe that was asked and answered now. */
  observe(node: string, position: bigint, timeline = 1, primary = 'pg1'): void {
    const at = nowMs();
    this.cluster.observations.record({
      node,
      sequence: ++this.#sequence,
      startedMs: at,
      finishedMs: at,
      role: node === primary ? 'primary' : 'replica',
      systemId: '1',
      timeline,
      version: 180004,
      replayLsn: lsn(position),
      receiveLsn: lsn(position),
      replayPaused: false,
      receiver: null,
      clockOffsetMs: 0,
      walLevel: 'logical',
      readOnly: false,
    });
  }

  fail(node: string): void {
    const at = nowMs();
    this.cluster.observations.recordFailure({
      node,
      sequence: ++this.#sequence,
      startedMs: at,
      finishedMs: at,
      kind: 'refused',
      message: 'connection refused',
    });
  }

  /** The next sample of the primary's position, from its start to its end. */
  sample(position: bigint, timeline = 1): void {
    const { samples } = this.cluster;
    samples.complete(samples.start(), timeline, lsn(position));
  }

  drain(...nodes: string[]): void {
    this.cluster.operator.set({ ...this.cluster.operator.value, drained: new Set(nodes) });
  }

  pause(): void {
    this.cluster.operator.set({ ...this.cluster.operator.value, paused: true });
  }
}

export function fork(timeline: number, forkLsn: bigint): Fork {
  return { timeline, parentTimeline: timeline - 1, forkLsn: lsn(forkLsn), epoch: timeline };
}
