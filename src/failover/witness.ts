import { sameHost } from '../cluster/same-host.ts';
import { fenceOf } from './lost-candidates.ts';
import type { State } from './state.ts';
import { type NodeView, nodeOf, type View } from './view.ts';

/** What the replicas say about the primary's death. */
export type Testimony = { readonly dead: boolean; readonly reason: string };

/** A receiver that lost its primary this long before our own last contact says nothing about this death. */
const WITNESS_WINDOW_MS = 60_000;

/**
 * The second observer. Fairlead alone may be the one that is cut off: the primary is dead only when every replica that answers has lost
 * it too, and at least one of them had it before. Pure.
 */
export function testimonyOf(state: State, view: View): Testimony {
  const former = nodeOf(view, state.former);
  const aliveMs = former?.aliveMs ?? null;
  const who = state.former ?? 'a primary';
  const witnesses = view.nodes.filter((n) => n.name !== state.former && isReplica(n, state));
  if (witnesses.length === 0)
    return { dead: false, reason: `no replica answers that could confirm the death of ${who}` };
  for (const witness of witnesses) {
    const seen = witness.seen as NonNullable<NodeView['seen']>;
    if (aliveMs !== null && seen.startedMs < aliveMs) {
      return { dead: false, reason: `${witness.name} was not asked since ${who} last answered` };
    }
    if (streamsFromElsewhere(witness, view, state)) continue;
    if (hasReceiver(witness)) {
      return {
        dead: false,
        reason: `${witness.name} still receives WAL from ${who}: only Fairlead is cut off from it`,
      };
    }
  }
  if (
    aliveMs !== null &&
    !witnesses.some((w) => (w.streamedMs ?? Number.NEGATIVE_INFINITY) >= aliveMs - WITNESS_WINDOW_MS)
  ) {
    return {
      dead: false,
      reason: `no replica that answers was streaming from ${who} before, so none can confirm its death`,
    };
  }
  return { dead: true, reason: `${witnesses.map((w) => w.name).join(', ')} lost it too` };
}

function isReplica(node: NodeView, state: State): boolean {
  if (node.seen === null || node.seen.role !== 'replica' || fenceOf(state, node) !== null) return false;
  return state.systemId === null || node.seen.systemId === state.systemId;
}

/** True while the receiver proves that its sender lives: it streams, and was not silent longer than it tolerates itself. */
function hasReceiver(node: NodeView): boolean {
  const receiver = node.seen?.receiver ?? null;
  if (receiver === null || !STREAMING.has(receiver.status)) return false;
  const limitMs = node.receiverTimeoutMs ?? DEFAULT_RECEIVER_TIMEOUT_MS;
  return limitMs === 0 || receiver.silentMs <= limitMs;
}

/** Where our role may not read the status, a receiver that exists has to count as one that streams. */
const STREAMING: ReadonlySet<string> = new Set(['streaming', 'hidden']);

/** PostgreSQL's own default of `wal_receiver_timeout`. */
const DEFAULT_RECEIVER_TIMEOUT_MS = 60_000;

/** A cascading replica follows another replica; that stream proves nothing about the primary. */
function streamsFromElsewhere(node: NodeView, view: View, state: State): boolean {
  const receiver = node.seen?.receiver ?? null;
  if (receiver === null) return false;
  return view.nodes.some(
    (other) =>
      other.name !== node.name &&
      other.name !== state.former &&
      other.seen?.role === 'replica' &&
      other.port === receiver.senderPort &&
      sameHost(other.host, receiver.senderHost),
  );
}
