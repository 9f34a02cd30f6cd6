import { type Counts, countMessages } from '../backend/database-counters.ts';
import type { Exchange } from '../backend/exchange.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import { nowMs } from '../core/clock.ts';
import type { RouteReason } from '../routing/decision.ts';
import { STATUS } from '../wire/message-type.ts';
import type { Link } from './link.ts';
import type { Services } from './services.ts';
import type { Traffic } from './traffic.ts';
import type { Summary, Work } from './work.ts';

/** Where a statement went, for `SHOW fairlead.route`. */
export type LastRoute = { readonly node: string; readonly class: string; readonly reason: string };

/** The last one: sessions keep theirs, and most of them are the same. */
let latest: LastRoute = { node: '', class: '', reason: '' };

function routeOf(node: string, statementClass: string, reason: string): LastRoute {
  if (latest.node !== node || latest.class !== statementClass || latest.reason !== reason) {
    latest = { node, class: statementClass, reason };
  }
  return latest;
}

/** Counts an answered request. @returns where it went and why */
export function account(
  { traffic }: Services,
  link: Link,
  work: Work,
  exchange: Exchange,
  summary: Summary,
  inTransaction: boolean,
  pinned: boolean,
): LastRoute {
  const atMs = nowMs();
  count(link, work, exchange, atMs);
  const begun = link.reason === 'split transaction' ? link.reason : 'read only transaction';
  const linked = inTransaction ? (link.readOnly ? begun : 'transaction') : null;
  const reason: RouteReason = pinned ? 'pinned' : (linked ?? link.reason);
  traffic.record(link.node.index, summary.traffic, reason, atMs - work.startedMs, atMs);
  if (exchange.sqlState !== null) traffic.recordError(atMs);
  const plain = link.readOnly || summary.class === 'read' || reason !== summary.reason || summary.detail === reason;
  if (plain) return routeOf(link.node.name, summary.class, reason);
  return { node: link.node.name, class: summary.class, reason: `${reason}: ${summary.detail}` };
}

/** Counts an answered read that shared its server connection. @returns where it went and why */
export function accountShared(
  traffic: Traffic,
  counts: Counts,
  exchange: Exchange,
  summary: Summary,
  node: TopologyNode,
  reason: RouteReason,
  atMs: number,
): LastRoute {
  const tookMs = atMs - exchange.startedMs;
  counts.serverAssignments++;
  counts.queries++;
  counts.queryMs += tookMs;
  counts.transactions++;
  counts.transactionMs += tookMs;
  if (exchange.extended) countMessages(counts, exchange);
  else exchange.plain?.count(counts);
  traffic.record(node.index, summary.traffic, reason, tookMs, atMs);
  if (exchange.sqlState !== null) traffic.recordError(atMs);
  return routeOf(node.name, summary.class, reason);
}

/** Adds to the statistics of the database. */
function count(link: Link, work: Work, exchange: Exchange, atMs: number): void {
  const { counts } = link;
  const beganMs = Math.max(work.startedMs, link.sinceMs);
  if (link.fresh) {
    link.fresh = false;
    counts.waitMs += Math.max(0, link.sinceMs - work.startedMs);
  }
  counts.queries++;
  counts.queryMs += atMs - beganMs;
  if (exchange.extended) countMessages(counts, exchange);
  const sinceMs = link.transactionSinceMs ?? beganMs;
  if (link.connection.status === STATUS.IDLE) {
    counts.transactions++;
    counts.transactionMs += atMs - sinceMs;
    link.transactionSinceMs = null;
  } else link.transactionSinceMs = sinceMs;
}
