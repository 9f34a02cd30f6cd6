/** The model as JSON. Positions become text here, times wall clock; what is not known is null. */
import type { Cluster } from '../cluster/cluster.ts';
import type { Lag } from '../cluster/lag.ts';
import type { NodeRecord } from '../cluster/observations.ts';
import type { ScheduledSwitchover } from '../cluster/operator.ts';
import type { Synchrony } from '../cluster/synchrony.ts';
import type { NodeState, TopologyNode } from '../cluster/topology.ts';
import { wallMs, wallMsOf } from '../core/clock.ts';
import { formatLsn, LSN_ZERO, type Lsn } from '../core/lsn.ts';
import type { ReplicationState } from '../replication/replication.ts';
import type { Holding } from './hold-clock.ts';

export type LagView = { readonly bytes: number | null; readonly ms: number | null };

export type NodeView = ReturnType<typeof nodeView>;
export type ClusterView = ReturnType<typeof clusterView>;

/** In these states the position is unknown, old, or of another history: no lag is better than a wrong one. */
const WITHOUT_LAG: ReadonlySet<NodeState> = new Set<NodeState>([
  'down',
  'unknown',
  'foreign',
  'needs rejoin',
  'detached',
]);

export function clusterView(cluster: Cluster, replication: ReplicationState, holding: Holding | null) {
  const topology = cluster.topology.value;
  const { systemId } = cluster.assignment.value;
  return {
    at: wallMs(),
    epoch: topology.epoch,
    primary: topology.primary?.name ?? null,
    phase: topology.phase,
    reason: topology.reason,
    timeline: topology.timeline,
    systemId,
    paused: topology.paused,
    primaryLsn: lsnText(cluster.primaryLsn()),
    holding,
    replication: {
      mode: replication.mode,
      reason: replication.lastError ?? (topology.primary === null ? 'no primary' : `follows ${topology.primary.name}`),
      slot: replication.slot,
      receivedLsn: lsnText(replication.receivedLsn),
      commits: cluster.commits.commits,
    },
    scheduled: scheduledView(cluster.operator.value.scheduled),
    synchronous: synchronyView(cluster.synchrony.value),
    nodes: topology.nodes.map((node) => nodeView(cluster, node)),
  };
}

/** A switchover that shall be made later. */
export function scheduledView(scheduled: ScheduledSwitchover | null) {
  return scheduled === null ? null : { at: scheduled.atMs, to: scheduled.to, waitMs: scheduled.waitMs };
}

export function nodeView(cluster: Cluster, node: TopologyNode) {
  const record = cluster.observations.of(node.name);
  const seen = record.last;
  return {
    name: node.name,
    role: node.role,
    state: node.state,
    reason: node.reason,
    condition: node.condition,
    assigned: cluster.topology.value.primary?.name === node.name,
    readable: node.readable,
    address: `${node.host}:${node.port}`,
    zone: node.zone,
    weight: node.weight,
    promotable: node.promotable,
    timeline: node.timeline,
    replayLsn: lsnText(cluster.replayLsn(node.name)),
    receiveLsn: seen === null ? null : lsnText(seen.receiveLsn),
    lag: lagView(cluster, node),
    sync: cluster.synchrony.value?.nodes.get(node.name) ?? null,
    replayPaused: seen?.replayPaused ?? false,
    receiver: receiverView(cluster, record),
    serverVersion: seen === null ? null : versionText(seen.version),
    walLevel: seen?.walLevel ?? null,
    readOnly: seen?.readOnly ?? null,
    probeMs: seen === null ? null : round(seen.finishedMs - seen.startedMs),
    answeredAt: seen === null ? null : Math.round(wallMsOf(seen.finishedMs)),
    failure: failureView(record),
  };
}

/** Where acknowledged commits are; null where Fairlead leaves synchronous replication alone. */
export function synchronyView(synchrony: Synchrony | null) {
  if (synchrony === null) return null;
  const { mode, copies, degrade, state, reason, setting, guarantee } = synchrony;
  return { mode, copies, degrade, state, reason, setting, confirmed: guarantee };
}

/** Lag now; nulls where it is not known. */
export function lagView(cluster: Cluster, node: TopologyNode): LagView {
  if (WITHOUT_LAG.has(node.state)) return { bytes: null, ms: null };
  const lag: Lag | null = cluster.lag(node.name);
  return lag === null ? { bytes: null, ms: null } : { bytes: lag.bytes, ms: round(lag.ms) };
}

export function lsnText(value: Lsn): string | null {
  return value === LSN_ZERO ? null : formatLsn(value);
}

function receiverView(cluster: Cluster, record: NodeRecord) {
  const receiver = record.failure === null ? record.last?.receiver : null;
  if (receiver === null || receiver === undefined) return null;
  const upstream = cluster.nodes.find((n) => n.host === receiver.senderHost && n.port === receiver.senderPort);
  return {
    status: receiver.status,
    sender: `${receiver.senderHost}:${receiver.senderPort}`,
    upstream: upstream?.name ?? null,
    slot: receiver.slotName,
    timeline: receiver.timeline,
    silentMs: round(receiver.silentMs),
  };
}

function failureView(record: NodeRecord) {
  const { failure, failingSinceMs } = record;
  if (failure === null) return null;
  const since = failingSinceMs === null ? null : Math.round(wallMsOf(failingSinceMs));
  return { kind: failure.kind, message: failure.message, since };
}

/** `180004` → `18.4`. */
function versionText(version: number): string {
  return `${Math.floor(version / 10_000)}.${version % 10_000}`;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
