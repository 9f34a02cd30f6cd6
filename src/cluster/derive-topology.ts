import type { NodeConfig } from '../config/config.ts';
import type { LagLimit } from '../config/units.ts';
import type { Assignment } from './assignment.ts';
import { type Condition, conditionInWords, conditionOf } from './condition.ts';
import { isFed } from './feeds.ts';
import type { Lag } from './lag.ts';
import type { LifeSign } from './life-signs.ts';
import { maybeDead, type Observation } from './observation.ts';
import type { NodeRecord } from './observations.ts';
import type { OperatorIntent } from './operator.ts';
import type { NodeState, Topology, TopologyNode } from './topology.ts';

export type TopologyInput = {
  readonly nodes: readonly NodeConfig[];
  readonly assignment: Assignment;
  readonly operator: OperatorIntent;
  readonly maxLag: LagLimit;
  record(node: string): NodeRecord;
  lag(node: string): Lag | null;
  life(node: string): LifeSign | null;
  /** Why it is not to be relied on yet, having come and gone; null: it is. */
  doubt(node: string): string | null;
};

/** A replica that was excluded for lag comes back at this share of the limit, so that it does not flap. */
const HYSTERESIS = 0.8;

/** Derives the snapshot from the tables. Pure. */
export function deriveTopology(input: TopologyInput, previous: Topology | null): Topology {
  const nodes = input.nodes.map((config, index) => {
    const wasLagging = previous?.nodes[index]?.state === 'lagging';
    return deriveNode(config, index, input, wasLagging);
  });
  const { assignment, operator } = input;
  const byName = new Map(nodes.map((n) => [n.name, n]));
  return Object.freeze({
    version: (previous?.version ?? 0) + 1,
    epoch: assignment.epoch,
    phase: assignment.phase,
    reason: assignment.reason,
    primary: assignment.primary === null ? null : (byName.get(assignment.primary) ?? null),
    timeline: assignment.timeline,
    nodes: Object.freeze(nodes),
    replicas: Object.freeze(nodes.filter((n) => n.readable && n.role === 'replica')),
    lagging: Object.freeze(nodes.filter((n) => n.state === 'lagging' && n.role === 'replica')),
    subscribers: Object.freeze(nodes.filter((n) => n.role === 'subscriber' && (n.readable || n.state === 'lagging'))),
    byName,
    paused: operator.paused,
  });
}

function deriveNode(config: NodeConfig, index: number, input: TopologyInput, wasLagging: boolean): TopologyNode {
  const record = input.record(config.name);
  const role = record.last?.role ?? 'unknown';
  const condition = conditionOf(record, input.life(config.name), isFed(config, input.nodes, input.record));
  const { state, reason } = stateOf(config.name, record, condition, input, wasLagging);
  return Object.freeze({
    name: config.name,
    index,
    host: config.host,
    port: config.port,
    zone: config.zone,
    weight: config.weight,
    promotable: config.promotable,
    role,
    state,
    reason,
    condition,
    timeline: record.last?.timeline ?? 0,
    readable: (role === 'replica' || role === 'subscriber') && state === 'up',
  });
}

function stateOf(
  name: string,
  record: NodeRecord,
  condition: Condition,
  input: TopologyInput,
  wasLagging: boolean,
): { state: NodeState; reason: string } {
  const { assignment, operator, maxLag } = input;
  const seen = record.last;
  if (record.failure !== null && (seen === null || maybeDead(record.failure.kind))) {
    const fence = assignment.fenced.get(name);
    const reason = `${conditionInWords(condition)}: ${record.failure.message}`;
    return { state: 'down', reason: fence === undefined ? reason : `${reason}; ${fence.reason}` };
  }
  if (seen === null) return { state: 'unknown', reason: 'not asked yet' };
  if (seen.role !== 'subscriber' && assignment.systemId !== null && seen.systemId !== assignment.systemId) {
    return { state: 'foreign', reason: `system identifier ${seen.systemId}, the cluster's is ${assignment.systemId}` };
  }
  const fence = assignment.fenced.get(name);
  if (fence !== undefined) return { state: 'needs rejoin', reason: fence.reason };
  if (seen.role === 'primary') {
    if (name === assignment.primary) {
      const trouble = record.failure === null ? '' : `; ${conditionInWords(condition)}: ${record.failure.message}`;
      return { state: 'up', reason: `assigned primary${trouble}` };
    }
    if (assignment.primary === null) return { state: 'up', reason: 'primary, not assigned' };
    return { state: 'needs rejoin', reason: `a primary, but ${assignment.primary} is assigned` };
  }
  if (operator.drained.has(name)) return { state: 'draining', reason: 'an operator keeps reads away' };
  if (seen.subscription !== undefined && seen.subscription.obstacle !== null) {
    return { state: 'detached', reason: seen.subscription.obstacle };
  }
  if (assignment.timeline !== 0 && seen.timeline !== assignment.timeline) {
    if (seen.role === 'subscriber') return { state: 'detached', reason: `not known to follow ${assignment.primary}` };
    return { state: 'detached', reason: `on timeline ${seen.timeline}, the primary is on ${assignment.timeline}` };
  }
  const doubt = input.doubt(name);
  if (doubt !== null) return { state: 'unsteady', reason: doubt };
  const lag = input.lag(name);
  if (lag === null) return { state: 'unknown', reason: 'lag not known yet' };
  const share = wasLagging ? HYSTERESIS : 1;
  if (maxLag.ms !== null && lag.ms !== null && lag.ms > maxLag.ms * share) {
    return { state: 'lagging', reason: `more than ${maxLag.ms} ms behind` };
  }
  if (maxLag.bytes !== null && lag.bytes > maxLag.bytes * share) {
    return { state: 'lagging', reason: `more than ${maxLag.bytes} bytes behind` };
  }
  return { state: 'up', reason: seen.role === 'subscriber' ? subscriberInWords(seen) : 'replica' };
}

function subscriberInWords({ subscription }: Observation): string {
  const { tables, leftOut } = subscription ?? { tables: new Set(), leftOut: [] };
  const rest =
    leftOut.length === 0 ? '' : `; left out: ${leftOut.slice(0, 5).join(', ')}${leftOut.length > 5 ? ', …' : ''}`;
  return `subscriber, tables: ${tables.size}${rest}`;
}

/** True when nothing that a reader of the topology could see differs. */
export function sameTopology(a: Topology, b: Topology): boolean {
  if (a.epoch !== b.epoch || a.phase !== b.phase || a.paused !== b.paused || a.timeline !== b.timeline) return false;
  if (a.reason !== b.reason || a.primary?.name !== b.primary?.name) return false;
  if (a.nodes.length !== b.nodes.length) return false;
  return a.nodes.every((n, i) => {
    const m = b.nodes[i] as TopologyNode;
    return (
      n.role === m.role &&
      n.state === m.state &&
      n.timeline === m.timeline &&
      n.reason === m.reason &&
      n.condition === m.condition
    );
  });
}
