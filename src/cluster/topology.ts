import type { Phase } from './assignment.ts';
import type { Condition } from './condition.ts';

export type Role = 'primary' | 'replica' | 'subscriber' | 'unknown';

/** What a node is good for. One word for people and scripts. */
export type NodeState =
  | 'up'
  | 'lagging' // a replica beyond routing.max_lag
  | 'draining' // an operator keeps reads away
  | 'detached' // a replica whose WAL does not come from the assigned primary's timeline, a subscriber that is not known to follow it
  | 'needs rejoin' // a former primary, or one that has diverged
  | 'foreign' // another system identifier: not a member of this cluster
  | 'unsteady' // a replica that came and went, and has yet to prove that it stays
  | 'down' // no answer
  | 'unknown'; // not asked yet

/** One node in a topology. Positions and lag move faster than the topology and are asked of `Cluster`. */
export type TopologyNode = {
  readonly name: string;
  readonly index: number;
  readonly host: string;
  readonly port: number;
  readonly zone: string | null;
  readonly weight: number;
  readonly promotable: boolean;
  /** Observed. */
  readonly role: Role;
  readonly state: NodeState;
  /** One phrase: why this state. */
  readonly reason: string;
  /** How it is, where `state` tells what it is good for. */
  readonly condition: Condition;
  readonly timeline: number;
  /** True when reads may go there (freshness apart). */
  readonly readable: boolean;
};

/** A frozen snapshot: replaced as a whole, never edited. */
export type Topology = {
  readonly version: number;
  readonly epoch: number;
  readonly phase: Phase;
  readonly reason: string;
  /** The assigned primary that takes writes now, or null: hold. */
  readonly primary: TopologyNode | null;
  readonly timeline: number;
  readonly nodes: readonly TopologyNode[];
  /** Those that are readable replicas. */
  readonly replicas: readonly TopologyNode[];
  /** Replicas beyond `routing.max_lag`: good for tables that have not changed since. */
  readonly lagging: readonly TopologyNode[];
  /** Logical subscribers that are up or lagging: good for reads of the tables that they have. */
  readonly subscribers: readonly TopologyNode[];
  readonly byName: ReadonlyMap<string, TopologyNode>;
  /** An operator holds all traffic. */
  readonly paused: boolean;
};
