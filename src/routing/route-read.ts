import type { Cluster } from '../cluster/cluster.ts';
import type { Topology, TopologyNode } from '../cluster/topology.ts';
import type { Lsn } from '../core/lsn.ts';
import type { TablesRead } from '../sql/tables-read.ts';
import type { Causality } from './causality.ts';
import type { RouteDecision, RouteReason, Wait } from './decision.ts';
import { hasTables, type KnownTables, knownTables } from './fresh-tables.ts';
import { subscribersOf } from './subscribed-tables.ts';

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
  /** What it reads; null: not known, and only positions count. */
  readonly tables: TablesRead | null;
};

/** How busy a node is; Infinity when it is not worth trying. */
export type NodeLoad = (node: string) => number;

/** Where a read goes, or what it has to wait for. Reads the model, changes nothing but the session's floor (which only rises). */
export function routeRead(request: ReadRequest, cluster: Cluster, load: NodeLoad): RouteDecision {
  const topology = cluster.topology.value;
  if (topology.paused) return { kind: 'hold', news: null };
  if (request.hint === 'primary') return toPrimary(topology, 'hint primary');
  if (request.consistency === 'primary' && request.hint !== 'replica')
    return toPrimary(topology, 'consistency primary');
  const subscribers = request.replicaReason === null ? subscribersOf(request.tables, cluster, topology) : NOBODY;

  if (request.avoid !== null && [...topology.replicas, ...subscribers].every((r) => request.avoid?.has(r.name)))
    return toPrimary(topology, 'retry');
  if (topology.replicas.length + topology.lagging.length + subscribers.length === 0)
    return toPrimary(topology, 'no replica');

  const { causality } = request;
  if (request.consistency === 'strong' && cluster.samples.completed < request.strongSample) {
    return wait(request, topology, { kind: 'sample', index: request.strongSample });
  }
  const unbound = request.consistency === 'eventual';
  if (!unbound && !causality.settle(cluster, topology.timeline)) {
    return wait(request, topology, { kind: 'sample', index: causality.pendingSample });
  }
  const bound = !unbound && !causality.settleReplica(cluster);
  const only = bound ? causality.replica : null;
  const floor = unbound ? null : strongFloor(request, cluster);
  const fresh = best(topology.replicas, (node) => isFresh(request, cluster, node, floor), load, only);
  if (fresh !== null) return { kind: 'node', node: fresh, reason: reasonOf(request), floor };
  const tables = knownTables(request.tables, cluster, topology);
  const current = tables === null ? null : bestForTables(request, cluster, topology, load, only, floor, tables);
  if (current !== null) return { kind: 'node', node: current, reason: reasonForTables(request), floor };
  if (tables !== null && subscribers.length > 0) {
    const there = best(subscribers, (node) => hasSubscribed(request, cluster, node, floor, tables), load, only);
    if (there !== null) return { kind: 'node', node: there, reason: reasonOf(request), floor };
  }
  if (bound && causality.replica !== null && !isReadable(topology, causality.replica)) {
    // the replica it last read is gone and its position unknown: only the primary's bounds it
    causality.ranOnPrimary(cluster.samples.next);
    return wait(request, topology, { kind: 'sample', index: causality.pendingSample });
  }
  if (topology.replicas.length === 0 && tables === null) return toPrimary(topology, 'no replica');
  if (!mayBecomeFresh(request, cluster, topology, subscribers, tables)) return toPrimary(topology, 'no fresh replica');
  return wait(request, topology, waitFor(floor, tables, bound));
}

const NOBODY: readonly TopologyNode[] = [];

/** Any news of any replica. */
const ANY_POSITION = 1n as Lsn;

/**
 * A session that is bound to the replica it last read waits until it is known where that is; any other one for its floor, or for the last change of what
 * it reads, or until the stream tells when that was.
 */
function waitFor(floor: Lsn | null, tables: KnownTables | null, bound: boolean): Wait {
  if (bound || floor === null) return { kind: 'wait', lsn: ANY_POSITION, told: null, awaited: null };
  if (tables === null) return { kind: 'wait', lsn: floor, told: null, awaited: 'replay' };
  if (tables.asOf < floor) return { kind: 'wait', lsn: floor, told: floor, awaited: 'stream' };
  return { kind: 'wait', lsn: tables.lastChange < floor ? tables.lastChange : floor, told: null, awaited: 'replay' };
}

/** No longer than `routing.freshness_wait` while there is a primary to ask; else as long as sessions are held. */
function wait({ waitOver }: ReadRequest, topology: Topology, news: Wait): RouteDecision {
  if (!waitOver) return news;
  return topology.primary === null ? { kind: 'hold', news } : toPrimary(topology, 'no fresh replica');
}

function toPrimary(topology: Topology, reason: RouteReason): RouteDecision {
  return topology.primary === null
    ? { kind: 'hold', news: null }
    : { kind: 'node', node: topology.primary, reason, floor: null };
}

function reasonOf(request: ReadRequest): RouteReason {
  if (request.hint === 'replica') return 'hint replica';
  if (request.replicaReason !== null) return request.replicaReason;
  return request.waited ? 'caught up' : 'fresh replica';
}

function reasonForTables(request: ReadRequest): RouteReason {
  return request.hint === 'replica' ? 'hint replica' : 'fresh tables';
}

/** Fully, or for tables that have not changed. */
function isReadable(topology: Topology, name: string): boolean {
  const node = topology.byName.get(name);
  if (node === undefined) return false;
  return topology.replicas.includes(node) || topology.lagging.includes(node) || topology.subscribers.includes(node);
}

function strongFloor(request: ReadRequest, cluster: Cluster) {
  const { floor } = request.causality;
  return request.consistency === 'strong' && cluster.samples.lsn > floor ? cluster.samples.lsn : floor;
}

/**
 * Nobody waits for a replica beyond `routing.max_lag` to replay, which would be in vain. One that has replayed the last change that is known of what is
 * read may still do, once the stream has told that there was none since.
 */
function mayBecomeFresh(
  { avoid }: ReadRequest,
  cluster: Cluster,
  { replicas, lagging }: Topology,
  subscribers: readonly TopologyNode[],
  tables: KnownTables | null,
): boolean {
  if (replicas.some(({ name }) => !avoid?.has(name))) return true;
  if (subscribers.some(({ name, state }) => state === 'up' && !avoid?.has(name))) return true;
  if (tables === null) return false;
  return lagging.some(({ name }) => !avoid?.has(name) && cluster.replayLsn(name) >= tables.lastChange);
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
function best(
  nodes: readonly TopologyNode[],
  isFresh: (node: TopologyNode) => boolean,
  load: NodeLoad,
  only: string | null,
): TopologyNode | null {
  if (only !== null) {
    const node = nodes.find(({ name }) => name === only);
    return node !== undefined && load(only) !== Number.POSITIVE_INFINITY && isFresh(node) ? node : null;
  }
  let best: TopologyNode | null = null;
  let bestLoad = Number.POSITIVE_INFINITY;
  for (let i = 0, fresh = 0; i < nodes.length && fresh < CANDIDATES; i++) {
    const node = nodes[(turn + i) % nodes.length] as TopologyNode;
    if (!isFresh(node)) continue;
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

/** Replicas that are behind, but not in what is read; those within `routing.max_lag` first. */
function bestForTables(
  request: ReadRequest,
  cluster: Cluster,
  { replicas, lagging }: Topology,
  load: NodeLoad,
  only: string | null,
  floor: Lsn | null,
  tables: KnownTables,
): TopologyNode | null {
  const { avoid, maxStalenessMs } = request;
  const fits = (node: TopologyNode) =>
    avoid?.has(node.name) !== true && hasTables(node, tables, floor, maxStalenessMs, cluster);
  return best(replicas, fits, load, only) ?? best(lagging, fits, load, only);
}

/** Of what happened to the definition of tables beyond what the stream has told nothing is known, on a subscriber least of all. */
function hasSubscribed(
  request: ReadRequest,
  cluster: Cluster,
  node: TopologyNode,
  floor: Lsn | null,
  tables: KnownTables,
): boolean {
  if (request.avoid?.has(node.name) || (floor !== null && tables.asOf < floor)) return false;
  if (node.state === 'up' && isFresh(request, cluster, node, floor)) return true;
  return hasTables(node, tables, floor, request.maxStalenessMs, cluster);
}

function isFresh(request: ReadRequest, cluster: Cluster, node: TopologyNode, floor: Lsn | null): boolean {
  if (request.avoid?.has(node.name)) return false;
  if (floor !== null && cluster.replayLsn(node.name) < floor) return false;
  if (request.maxStalenessMs === null) return true;
  const lag = cluster.lag(node.name);
  return lag !== null && lag.ms <= request.maxStalenessMs;
}
