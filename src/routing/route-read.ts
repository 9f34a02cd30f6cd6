import type { Cluster } from '../cluster/cluster.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import type { Lsn } from '../core/lsn.ts';
import type { Causality } from './causality.ts';
import type { RouteDecision, RouteReason } from './decision.ts';

export type Consistency = 'eventual' | 'session' | 'strong' | 'primary';

/** Everything about one read that bears on where it may run. */
export type ReadRequest = {
  readonly consistency: Consistency;
  /** Replicas further behind are left out, milliseconds; null: only `routing.max_lag` counts. */
  readonly maxStalenessMs: number | null;
  /** From a comment in the statement. */
  readonly hint: 'primary' | 'replica' | null;
  readonly causality: Causality;
  /** `strong`: index of a sample started after the statement arrived; 0 otherwise. */
  readonly strongSample: number;
  /** The session has waited before. */
  readonly waited: boolean;
  /** `routing.freshness_wait` is over. */
  readonly waitOver: boolean;
  /** Nodes that refused or lost this statement. */
  readonly avoid: ReadonlySet<string> | null;
  /** The reason to report when a replica takes it, where the statement itself gives one. */
  readonly replicaReason: RouteReason | null;
};

/** How busy a node is; Infinity when it is not worth trying. */
export type NodeLoad = (node: string) => number;

/** Where a read goes, or what it has to wait for. Reads the model, changes nothing but the session's floor (which only rises). */
export function routeRead(request: ReadRequest, cluster: Cluster, load: NodeLoad): RouteDecision {
  const topology = cluster.topology.value;
  if (topology.paused) return { kind: 'hold' };
  if (request.hint === 'primary') return toPrimary(topology, 'hint primary');
  if (request.consistency === 'primary' && request.hint !== 'replica')
    return toPrimary(topology, 'consistency primary');
  if (request.avoid !== null && topology.replicas.every((r) => request.avoid?.has(r.name)))
    return toPrimary(topology, 'retry');
  if (topology.replicas.length === 0) return toPrimary(topology, 'no replica');

  const { causality } = request;
  if (request.consistency === 'strong' && cluster.samples.completed < request.strongSample) {
    return request.waitOver ? toPrimary(topology, 'no fresh replica') : { kind: 'sample', index: request.strongSample };
  }
  const unbound = request.consistency === 'eventual';
  if (!unbound && !causality.settle(cluster, topology.timeline)) {
    return request.waitOver
      ? toPrimary(topology, 'no fresh replica')
      : { kind: 'sample', index: causality.pendingSample };
  }
  const bound = !unbound && !causality.settleReplica(cluster);
  const best = bestReplica(request, cluster, topology, load, bound ? causality.replica : null);
  if (best !== null) return { kind: 'node', node: best, reason: reasonOf(request) };
  if (bound && causality.replica !== null && !isReadable(topology, causality.replica)) {
    // the replica it last read is gone and its position unknown: only the primary's bounds it
    causality.ranOnPrimary(cluster.samples.next);
    return request.waitOver
      ? toPrimary(topology, 'no fresh replica')
      : { kind: 'sample', index: causality.pendingSample };
  }
  if (request.waitOver || !mayBecomeFresh(request, topology)) return toPrimary(topology, 'no fresh replica');
  return { kind: 'wait', lsn: strongFloor(request, cluster) };
}

function toPrimary(topology: Topology, reason: RouteReason): RouteDecision {
  return topology.primary === null ? { kind: 'hold' } : { kind: 'node', node: topology.primary, reason };
}

function reasonOf(request: ReadRequest): RouteReason {
  if (request.hint === 'replica') return 'hint replica';
  if (request.replicaReason !== null) return request.replicaReason;
  return request.waited ? 'caught up' : 'fresh replica';
}

function isReadable(topology: Topology, node: string): boolean {
  return topology.byName.get(node)?.readable === true && topology.byName.get(node)?.role === 'replica';
}

function strongFloor(request: ReadRequest, cluster: Cluster) {
  const { floor } = request.causality;
  return request.consistency === 'strong' && cluster.samples.lsn > floor ? cluster.samples.lsn : floor;
}

function mayBecomeFresh(request: ReadRequest, topology: Topology): boolean {
  return topology.replicas.some((r) => !request.avoid?.has(r.name));
}

/** So that equals take turns. */
let turn = 0;

/** A read goes where `routeRead` said. */
export function nextTurn(): void {
  turn++;
}

/** Of so many that are fresh enough the least loaded is taken: the best of a few is nearly the best of all, whatever their number. */
const CANDIDATES = 4;

/** Among the next few that are fresh enough: least outstanding per weight; equals take turns. `only` binds to one node. */
function bestReplica(
  request: ReadRequest,
  cluster: Cluster,
  topology: Topology,
  load: NodeLoad,
  only: string | null,
): TopologyNode | null {
  const { replicas } = topology;
  const floor = request.consistency === 'eventual' ? null : strongFloor(request, cluster);
  if (only !== null) {
    const node = topology.byName.get(only);
    if (node === undefined || !isReadable(topology, only) || load(only) === Number.POSITIVE_INFINITY) return null;
    return isFresh(request, cluster, node, floor) ? node : null;
  }
  let best: TopologyNode | null = null;
  let bestLoad = Number.POSITIVE_INFINITY;
  for (let i = 0, fresh = 0; i < replicas.length && fresh < CANDIDATES; i++) {
    const node = replicas[(turn + i) % replicas.length] as TopologyNode;
    if (!isFresh(request, cluster, node, floor)) continue;
    const weighted = load(node.name) / node.weight;
    if (weighted === Number.POSITIVE_INFINITY) continue;
    fresh++;
    if (weighted < bestLoad) {
      best = node;
      bestLoad = weighted;
    }
  }
  return best;
}

function isFresh(request: ReadRequest, cluster: Cluster, node: TopologyNode, floor: Lsn | null): boolean {
  if (request.avoid?.has(node.name)) return false;
  if (floor !== null && cluster.replayLsn(node.name) < floor) return false;
  if (request.maxStalenessMs === null) return true;
  const lag = cluster.lag(node.name);
  return lag !== null && lag.ms <= request.maxStalenessMs;
}
