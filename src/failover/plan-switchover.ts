/** What a switchover would do, and wait for, if it were asked for now. Looks, and changes nothing. */
import type { Cluster } from '../cluster/cluster.ts';
import { bytesBetween } from '../core/lsn.ts';
import type { ControlNodes } from './control-nodes.ts';
import { judge } from './decide.ts';
import { CLIENTS } from './fence.ts';
import { type Request, type State, TRANSACTIONS_MS } from './state.ts';
import { nodeOf, type View } from './view.ts';

export type PlanStep = { readonly step: string; readonly text: string };

export type SwitchoverPlan = {
  readonly possible: boolean;
  /** Why it would be refused; null: it would not. */
  readonly reason: string | null;
  readonly from: string | null;
  /** Who would be promoted; null: nobody may be. */
  readonly to: string | null;
  /** Why that one. */
  readonly choice: string | null;
  readonly vetoes: readonly { readonly node: string; readonly reason: string }[];
  /** Open on the primary, also of clients that bypass Fairlead; null: not known. */
  readonly transactions: { readonly count: number; readonly oldestMs: number } | null;
  /** Of the target, behind the primary. */
  readonly behindBytes: number | null;
  readonly behindMs: number | null;
  /** Replicas that are turned to the new primary, and those that are not. */
  readonly turned: readonly string[];
  readonly left: readonly { readonly node: string; readonly reason: string }[];
  /** What becomes of the old primary: its agent makes it a follower, or it waits for a rejoin. */
  readonly demotion: 'agent' | 'needs rejoin';
  /** `synchronous_standby_names` of the new primary from its first commit on; null: left as it is there. */
  readonly synchronous: string | null;
  /** Writes are held for about `leastMs`, with transactions that take their time for up to `mostMs`. */
  readonly pause: { readonly leastMs: number; readonly mostMs: number } | null;
  readonly steps: readonly PlanStep[];
};

export type PlanSources = {
  readonly nodes: ControlNodes;
  readonly cluster: Cluster;
  /** The setting that a node would have; null where synchronous replication is not ours. */
  preset(node: string): string | null;
  /** How long writes were held by the last one, transactions apart; null: there was none. */
  readonly lastPauseMs: number | null;
};

const ASK_MS = 2000;
/** Until it has been measured. */
const USUAL_PAUSE_MS = 300;

const OPEN = `SELECT count(*)::int AS count,
  coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)) * 1000, 0)::float8 AS oldest
  FROM ${CLIENTS} AND a.xact_start IS NOT NULL`;

export async function planSwitchover(
  state: State,
  view: View,
  request: Request,
  sources: PlanSources,
): Promise<SwitchoverPlan> {
  const { nodes, cluster } = sources;
  const verdict = judge(state, view, request);
  const from = state.primary;
  const waitMs = request.waitMs ?? TRANSACTIONS_MS;
  const { vetoes } = verdict.election ?? { vetoes: [] };
  const to = verdict.refused === null ? verdict.election.elected : null;
  const transactions = from === null ? null : await openOn(nodes, from);
  const target = nodeOf(view, to);
  const others = view.nodes.filter(({ name }) => name !== from && name !== to);
  const turned = others.filter((n) => n.seen?.role === 'replica' && !state.fenced.has(n.name)).map(({ name }) => name);
  const left = others
    .filter(({ name }) => !turned.includes(name))
    .map(({ name, failure }) => ({
      node: name,
      reason: state.fenced.get(name)?.reason ?? failure?.message ?? 'it is no replica',
    }));
  const demotion: SwitchoverPlan['demotion'] = nodeOf(view, from)?.demotable === true ? 'agent' : 'needs rejoin';
  const behindBytes = target?.seen == null ? null : bytesBetween(target.seen.replayLsn, view.newestLsn);
  const behindMs = to === null ? null : (cluster.lag(to)?.ms ?? null);
  const leastMs = Math.round((sources.lastPauseMs ?? USUAL_PAUSE_MS) + (behindMs ?? 0));
  const plan = {
    ...{ possible: verdict.refused === null, reason: verdict.refused, from, to, vetoes, transactions },
    choice: to === null ? null : choiceOf(to, request),
    ...{ behindBytes, behindMs, turned, left, demotion },
    synchronous: to === null ? null : sources.preset(to),
    pause: to === null ? null : { leastMs, mostMs: leastMs + (transactions?.count === 0 ? 0 : waitMs) },
  } as const;
  return { ...plan, steps: to === null ? [] : stepsOf(plan, waitMs) };
}

async function openOn(nodes: ControlNodes, primary: string): Promise<SwitchoverPlan['transactions']> {
  try {
    const [row] = await nodes.query<{ count: number; oldest: number }>(primary, OPEN, [], ASK_MS);
    return row === undefined ? null : { count: row.count, oldestMs: Math.round(row.oldest) };
  } catch {
    return null;
  }
}

function choiceOf(to: string, request: Request): string {
  return request.to === to
    ? 'it was asked for'
    : 'of those that may be promoted it has received most; among equals those not drained, then weight, then the name';
}

function stepsOf(plan: Omit<SwitchoverPlan, 'steps'>, waitMs: number): readonly PlanStep[] {
  const { from, to, transactions, turned, left, demotion, synchronous, behindBytes } = plan;
  const open =
    transactions === null
      ? 'how many are open is not known'
      : transactions.count === 0
        ? 'none is open'
        : `open now: ${transactions.count}, the oldest for ${seconds(transactions.oldestMs)}`;
  const steps: (PlanStep | null)[] = [
    {
      step: 'hold',
      text: 'statements that write wait; reads go on from replicas that have what their session must see',
    },
    { step: 'wait', text: `transactions may end within ${seconds(waitMs)}, those left are lost (40001); ${open}` },
    { step: 'fence', text: `${from} is made read-only, and its client sessions end` },
    turned.length === 0
      ? null
      : { step: 'stop', text: `${turned.join(', ')} stop${turned.length > 1 ? '' : 's'} receiving` },
    {
      step: 'catch up',
      text: `${to} replays the last byte of ${from}; it is ${behindBytes ?? 'an unknown number of'} bytes behind now`,
    },
    synchronous === null
      ? null
      : {
          step: 'synchronous',
          text: `${to} begins with synchronous_standby_names = ${synchronous === '' ? "''" : synchronous}`,
        },
    { step: 'promote', text: `${to} is promoted, and takes writes` },
    turned.length === 0
      ? null
      : { step: 'turn', text: `${turned.join(', ')} follow${turned.length > 1 ? '' : 's'} ${to}` },
    ...left.map(({ node, reason }) => ({ step: 'leave', text: `${node} is not turned: ${reason}` })),
    demotion === 'agent'
      ? { step: 'demote', text: `the agent of ${from} makes it a follower of ${to}, afterwards` }
      : { step: 'leave', text: `${from} stays fenced until \`fairlead rejoin ${from}\`` },
  ];
  return steps.filter((step) => step !== null);
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(1))} s`;
}
