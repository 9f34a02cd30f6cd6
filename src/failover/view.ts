import type { Cluster } from '../cluster/cluster.ts';
import type { Condition } from '../cluster/condition.ts';
import type { Observation, ProbeFailure } from '../cluster/observation.ts';
import { type Config, membersOf } from '../config/config.ts';
import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import type { SignOfLife, SignsOfLife } from './signs-of-life.ts';
import type { Outcome, Request, State } from './state.ts';
import type { Standing } from './sync/proof.ts';

export type NodeView = SignOfLife & {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly promotable: boolean;
  readonly drained: boolean;
  /** The last answer, when it is fresh and no failure came after it; else null. */
  readonly seen: Observation | null;
  readonly failure: { readonly kind: ProbeFailure; readonly message: string } | null;
  /** Since when it gives no answer; null while it does. */
  readonly failingSinceMs: number | null;
  readonly condition: Condition;
  /** It was asked at least once. */
  readonly asked: boolean;
  /** Its `wal_receiver_timeout` in milliseconds; 0 means never, null unknown. */
  readonly receiverTimeoutMs: number | null;
  /** An agent is beside it. */
  readonly hasAgent: boolean;
  /** After a switchover away from it, its agent makes it a follower. */
  readonly demotable: boolean;
  /** Fenced over SQL, and checked. */
  readonly quelled: boolean;
  /** Why it cannot follow the primary: it has WAL that the primary's timeline does not have. Null: nothing known. */
  readonly diverged: string | null;
};

/** Everything a decision looks at, taken at one instant. */
export type View = {
  readonly nodes: readonly NodeView[];
  readonly mode: 'automatic' | 'manual' | 'follow' | 'off';
  readonly timeoutMs: number;
  /** How long a primary that is down may take to come back; null: by what it shows. */
  readonly restartWaitMs: number | null;
  /** Promotions by Fairlead itself within ten minutes, at most. */
  readonly maxPromotions: number;
  readonly maxLossBytes: number;
  /** Which hooks there are, and whether nobody is promoted without the success of `fence`. */
  readonly hooks: { readonly validate: boolean; readonly rejoin: boolean; readonly fenceRequired: boolean };
  /** Newest position of the primary (or former primary) that anybody told us. */
  readonly newestLsn: Lsn;
  /** By how much our own timer was late: our blockage is nobody else's death. */
  readonly lateMs: number;
  /** Of the work that ended since the last decision. */
  readonly outcome: Outcome | null;
  readonly request: Request | null;
  /** Where acknowledged commits are; null where nobody promised anything. */
  readonly standing: Standing | null;
};

/** What the controller adds to the tables. */
export type ViewExtras = {
  readonly config: Config;
  /** Names of the nodes that have one. */
  readonly agents: ReadonlySet<string>;
  readonly signs: SignsOfLife;
  readonly lateMs: number;
  readonly outcome: Outcome | null;
  readonly request: Request | null;
  readonly standing: Standing | null;
  receiverTimeoutMs(node: string): number | null;
  quelled(node: string): boolean;
  diverged(node: string): string | null;
};

/** Takes the view from the tables of the model. */
export function loadView(cluster: Cluster, state: State, extras: ViewExtras, nowMs: number): View {
  const { config, agents, signs } = extras;
  const staleMs = 2 * config.cluster.probe_interval + config.cluster.probe_timeout;
  const nodes = membersOf(cluster.nodes).map((node): NodeView => {
    const { last, failure, failingSinceMs } = cluster.observations.of(node.name);
    const sign = signs.of(node.name);
    const fresh = last !== null && failure === null && nowMs - last.finishedMs <= staleMs;
    return Object.freeze({
      ...sign,
      // whatever shows that it lives
      aliveMs: latest(sign.aliveMs, cluster.life.of(node.name)?.atMs ?? null),
      name: node.name,
      host: node.host,
      port: node.port,
      weight: node.weight,
      promotable: node.promotable,
      drained: cluster.operator.value.drained.has(node.name),
      seen: fresh ? last : null,
      failure: failure === null ? null : { kind: failure.kind, message: failure.message },
      failingSinceMs,
      condition: cluster.topology.value.byName.get(node.name)?.condition ?? 'unknown',
      asked: last !== null || failure !== null,
      receiverTimeoutMs: extras.receiverTimeoutMs(node.name),
      hasAgent: agents.has(node.name),
      demotable: config.failover.demote && agents.has(node.name),
      quelled: extras.quelled(node.name),
      diverged: extras.diverged(node.name),
    });
  });
  return Object.freeze({
    nodes: Object.freeze(nodes),
    mode: config.failover.mode,
    timeoutMs: config.failover.timeout,
    restartWaitMs: config.failover.restart_wait,
    maxPromotions: config.failover.max_promotions,
    maxLossBytes: config.failover.max_loss,
    hooks: {
      validate: config.hooks.validate !== null,
      rejoin: config.hooks.rejoin !== null,
      fenceRequired: config.hooks.fence?.required === true,
    },
    newestLsn: newestLsn(cluster, state),
    lateMs: extras.lateMs,
    outcome: extras.outcome,
    request: extras.request,
    standing: extras.standing,
  });
}

function latest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}

/** Probe, on-demand sample and logical stream each know a position of the primary: the newest is the bound of what may be lost. */
function newestLsn(cluster: Cluster, state: State): Lsn {
  if (state.former === null) return LSN_ZERO;
  const { last } = cluster.observations.of(state.former);
  const probed = last === null || last.role !== 'primary' ? LSN_ZERO : maxLsn(last.replayLsn, last.receiveLsn);
  const sampled = cluster.samples.timeline === state.timeline ? cluster.samples.lsn : LSN_ZERO;
  // without a stream the commit log stays at zero
  return maxLsn(maxLsn(probed, sampled), cluster.commits.newestLsn);
}

/** Somebody else decides who is primary; nothing on a server is touched. */
export function obeys({ mode }: View): boolean {
  return mode === 'off' || mode === 'follow';
}

export function nodeOf(view: View, name: string | null): NodeView | null {
  return view.nodes.find((node) => node.name === name) ?? null;
}
