import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { UNASSIGNED } from '../../../src/cluster/assignment.ts';
import type { Observation } from '../../../src/cluster/observation.ts';
import { receivedByAll } from '../../../src/cluster/received-by-all.ts';
import type { NodeConfig } from '../../../src/config/config.ts';
import { lsn } from '../../../src/core/lsn.ts';

const node = (name: string, more: Partial<NodeConfig> = {}) => ({ name, promotable: true, ...more }) as NodeConfig;
const seen = (receiveLsn: number, more: Partial<Observation> = {}) =>
  ({ role: 'replica', systemId: '7', timeline: 1, receiveLsn: lsn(BigInt(receiveLsn)), ...more }) as Observation;
const ASSIGNED = { ...UNASSIGNED, primary: 'a', timeline: 1, systemId: '7' };
const NODES = [node('a'), node('b'), node('c')];

const received = (
  observed: Record<string, Observation | null>,
  nodes: readonly NodeConfig[] = NODES,
  assignment = ASSIGNED,
) => receivedByAll(nodes, assignment, (name) => observed[name] ?? null);

describe('what everybody who may be promoted has', () => {
  it('is what the one furthest behind has', () => {
    assert.equal(received({ b: seen(20), c: seen(10) }), 10n);
  });

  it('is nothing while one has not told it, or stands on another timeline, or nobody is primary', () => {
    assert.equal(received({ b: seen(20), c: null }), 0n);
    assert.equal(received({ b: seen(20), c: seen(10, { timeline: 2 }) }), 0n);
    assert.equal(
      received({ b: seen(20), c: seen(10) }, NODES, { ...ASSIGNED, primary: null as unknown as string }),
      0n,
    );
  });

  it('leaves out who cannot be promoted: told so, fenced, a subscriber, of another cluster, a primary', () => {
    const others = [node('a'), node('b'), node('c', { promotable: false }), node('d', { subscription: 's' })];
    assert.equal(received({ b: seen(20), c: seen(10) }, others), 20n);
    const fenced = new Map([['c', { sinceEpoch: 1, reason: '' }]]);
    assert.equal(received({ b: seen(20), c: seen(10) }, NODES, { ...ASSIGNED, fenced }), 20n);
    assert.equal(received({ b: seen(20), c: seen(10, { systemId: '8' }) }), 20n);
    assert.equal(received({ b: seen(20), c: seen(10, { role: 'primary' }) }), 20n);
  });

  it('is everything where there is nobody else', () => {
    assert.equal(received({}, [node('a')]), 2n ** 64n - 1n);
  });
});
