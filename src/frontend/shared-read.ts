import { Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import type { Pace } from '../backend/pace.ts';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { NO_SETTINGS, type SettingsSet } from '../backend/settings-set.ts';
import type { Rider } from '../backend/shared-connection.ts';
import type { UserPools } from '../backend/user-pools.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import { nowMs } from '../core/clock.ts';
import type { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import type { RouteReason } from '../routing/decision.ts';
import { nextTurn, type ReadRequest, routeRead } from '../routing/route-read.ts';
import { accountShared, type LastRoute } from './accounting.ts';
import type { ExecutionHost, ExecutionState } from './execution-host.ts';
import type { Link } from './link.ts';
import { afterLoss, type FinalLoss } from './loss.ts';
import type { Placed } from './placement.ts';
import type { Known } from './placement-request.ts';
import { encodePlain } from './plain-encoding.ts';
import { sharedRefusable } from './refusable.ts';
import type { RequestReader } from './request-reader.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import { doubtfulTypes } from './types-check.ts';
import type { Variant } from './variant.ts';
import { avoidNode, type Summary, summarize, type Work } from './work.ts';

/** Larger requests are not put behind each other. */
const SMALL_BYTES = 16 * 1024;

/** The session whose reads they are. */
export type SharedReadHost = Known & {
  /** The request at hand. */
  work: Work | null;
  state: ExecutionState;
  /** It has a server connection to itself, or will keep the next one. */
  readonly link: Link | null;
  readonly keepsLink: boolean;
  /** Where a read was answered that shared its connection, ReadyForQuery included. */
  sharedAnswered(route: LastRoute): void;
  /** It is to run once more, on a server connection that it has to itself. */
  rerun(work: Work): void;
  /** It was lost and cannot run again. */
  sharedLost(loss: FinalLoss): void;
};

/** Of the read at hand; made anew for none of them. */
const REQUEST: { -readonly [K in keyof ReadRequest]: ReadRequest[K] } = {
  consistency: 'session',
  maxStalenessMs: null,
  hint: null,
  causality: new Causality(),
  strongSample: 0,
  waited: false,
  waitOver: false,
  avoid: null,
  replicaReason: null,
  tables: null,
};

/** So much of the next read has been sampled. */
let due = 0;

/** True for this share of the calls. */
function sampled(share: number): boolean {
  due += share;
  if (due < 1) return false;
  due -= 1;
  return true;
}

type Output = Pick<ExecutionHost, 'relay' | 'listening'>;

/** How long such reads take; null: it is none that could stand among others. */
export function paceOf(work: Work): Pace | null {
  const { kind, synced, describeOnly, raw, batch, use, alone, losses, listens, verdicts } = work;
  if (alone || losses > 0 || !synced || describeOnly || use !== null || listens.length > 0) return null;
  if (verdicts.length !== 1) return null;
  const { pace } = summarize(verdicts);
  if (pace === null) return null;
  if (batch === null) return kind === 'query' && raw !== null && raw.length <= SMALL_BYTES ? pace : null;
  return raw === null && batch.bytes <= SMALL_BYTES && batch.plain ? pace : null;
}

/**
 * The quick reads of one session that run among those of others, one at a time, without a server connection of its own. What cannot run so, or
 * not at once, is left to the ordinary way.
 */
export class SharedRead implements ExchangeOwner, Rider {
  settings: SettingsSet = NO_SETTINGS;
  pace: Pace | null = null;
  readonly #client: Client;
  readonly #services: Services;
  readonly #requests: RequestReader;
  readonly #variant: Variant;
  readonly #host: SharedReadHost;
  readonly #output: Output;
  readonly #pools: UserPools;
  #exchange: Exchange | null = null;
  #connection: ServerConnection | null = null;
  #pool: Pool | null = null;
  #node: TopologyNode | null = null;
  #reason: RouteReason = 'no replica';

  constructor(
    client: Client,
    services: Services,
    host: SharedReadHost,
    requests: RequestReader,
    variant: Variant,
    output: Output,
  ) {
    this.#client = client;
    this.#services = services;
    this.#requests = requests;
    this.#variant = variant;
    this.#host = host;
    this.#output = output;
    this.#pools = services.pools.ofUser(client.database, client.identity);
  }

  /** Where it runs now; null: nowhere. */
  get linkedTo(): { readonly node: string; readonly pid: number } | null {
    const connection = this.#connection;
    return connection === null ? null : { node: connection.host.node, pid: connection.pid };
  }

  /** The work as what may stand behind others; null: it needs a connection to itself. */
  rider(work: Work): Rider | null {
    this.#sample(work);
    const pace = this.#mayShare ? paceOf(work) : null;
    if (pace?.quick !== true) return null;
    this.#prepare(pace);
    return this;
  }

  /** A request goes out on a connection of the session's own, which others may share if it is a read of that kind. */
  first(link: Link, exchange: Exchange, work: Work): void {
    const pace = this.#mayShare ? paceOf(work) : null;
    if (pace === null) return;
    exchange.pace = pace;
    if (pace.quick) link.share(exchange, pace);
  }

  /** Of sessions that keep no connection. */
  get #mayShare(): boolean {
    const { settingsChanged, primaryOnly } = this.#host.memory;
    return !this.#output.listening.listens && !settingsChanged && !primaryOnly;
  }

  /** Decides once for each read whether it is one of those that are checked: they run alone. */
  #sample(work: Work): void {
    if (work.audit !== undefined) return;
    const { cluster, config, neighbours } = this.#services;
    work.audit = null;
    const share = config().routing.audit;
    if (share === 0) return;
    const { read, tables } = summarize(work.verdicts);
    if (!read || !sampled(share)) return;
    const { timeline } = cluster.topology.value;
    const oids = tables?.oids ?? null;
    work.alone = true;
    work.audit = (node, replayed, floor) => {
      const names = work.verdicts.flatMap(({ relations }) => relations.map(({ name }) => name));
      neighbours.audited({ node, timeline, replayed, floor, oids, names });
    };
  }

  /** Takes on a request and runs it at once, if it is such a read and there is a place for it. */
  join(work: Work): boolean {
    const host = this.#host;
    if (host.link !== null || host.keepsLink) return false;
    host.state = 'active';
    host.work = work;
    if (this.#join(work)) return true;
    host.state = 'idle';
    host.work = null;
    return false;
  }

  #join(work: Work): boolean {
    this.#sample(work);
    const pace = this.#mayShare ? paceOf(work) : null;
    if (pace?.quick !== true || this.#client.readOnly) return false;
    const { options, causality } = this.#host;
    const { cluster, config, pools } = this.#services;
    const summary = summarize(work.verdicts);
    const consistency = options.consistencyOfReads(config().routing.consistency);
    // what has to wait for anything, or what the session has changed, is not for here
    if (consistency === 'strong' || !this.#requests.schema.settled) return false;
    if (cluster.operator.value.pausedDatabases.size > 0) return false;
    const { database, identity } = this.#client;
    REQUEST.consistency = consistency;
    REQUEST.maxStalenessMs = summary.maxStalenessMs ?? options.maxStalenessMs;
    REQUEST.hint = summary.hint;
    REQUEST.causality = causality;
    REQUEST.tables = summary.tables;
    const decision = routeRead(REQUEST, cluster, (node) => pools.load(node, database, identity));
    if (decision.kind !== 'node') return false;
    const { node, reason } = decision;
    const pool = this.#pools.of(node, cluster.topology.value.primary === node ? 'rw' : 'ro');
    this.#prepare(pace);
    const connection = pool.shared.seat(this, work.startedMs);
    if (connection === null) return false;
    nextTurn();
    this.#run(work, pace, connection, pool, node, reason);
    return true;
  }

  /** A place was found for it. */
  take(work: Work, { connection, pool, node, reason }: Placed): void {
    pool.counts.waitMs += nowMs() - work.startedMs;
    this.#run(work, this.pace as Pace, connection, pool, node, reason);
  }

  fits(connection: ServerConnection): boolean {
    const batch = this.#host.work?.batch ?? null;
    if (batch === null) return true;
    return (
      batch.isPreparedOn(connection, this.#variant) && doubtfulTypes(connection, batch, this.#variant).length === 0
    );
  }

  /** @returns true when it has not come to its turn: nothing but an answer of ours ends it */
  cancel(): boolean {
    const exchange = this.#exchange;
    const connection = this.#connection;
    if (exchange === null || connection === null) return false;
    if (connection.exchanges.head === exchange) {
      connection.cancelFor(exchange);
      return false;
    }
    this.leave();
    return true;
  }

  /** The session does not wait for it any more. */
  leave(): void {
    if (this.#exchange !== null) this.#connection?.disown(this.#exchange);
    this.#clear();
  }

  /** The client has caught up. */
  drained(): void {
    const exchange = this.#exchange;
    if (exchange !== null && this.#connection?.exchanges.head === exchange) this.#connection.resume();
  }

  reply(exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    const whole = start === 0 && end === buffer.length;
    if (!this.#output.relay(whole ? buffer : buffer.subarray(start, end))) this.#connection?.pauseFor(exchange);
  }

  copyIn(): void {}

  finished(exchange: Exchange): void {
    const work = this.#host.work as Work;
    const pool = this.#pool as Pool;
    const node = this.#node as TopologyNode;
    const summary: Summary = summarize(work.verdicts);
    const atMs = nowMs();
    const { causality } = this.#host;
    const { cluster, traffic } = this.#services;
    if (pool.key.purpose === 'ro') causality.ranOnReplica(node.name, atMs);
    else causality.ranOnPrimary(cluster.samples.next);
    if (!this.#requests.schema.settled) this.#requests.schema.ran(work.verdicts, false);
    if (exchange.undone !== null) this.#requests.statements.undo(exchange.undone);
    const route = accountShared(traffic, pool.counts, exchange, summary, node, this.#reason, atMs);
    this.#clear();
    this.#host.sharedAnswered(route);
  }

  refused(_exchange: Exchange, sqlState: string): void {
    const work = this.#host.work as Work;
    // through the read-only port it may be the primary's, where it ran for that reason
    const onReplica = this.#pool?.key.purpose === 'ro' && work.forced === null;
    if (sqlState === '25006') this.#requests.statements.learnWrite(work);
    if (onReplica) {
      work.forced = 'retry';
      this.#avoid(work);
    } else work.losses++;
    this.#again(work);
  }

  displaced(): void {
    const work = this.#host.work as Work;
    work.alone = true;
    this.#clear();
    this.#host.rerun(work);
  }

  lost(exchange: Exchange, error: FairleadError): void {
    const work = this.#host.work as Work;
    const loss = afterLoss(false, false, exchange, work.verdicts, work, error);
    work.losses++;
    if (loss.kind === 'again') {
      if (this.#pool?.key.purpose === 'ro') this.#avoid(work);
      return this.#again(work);
    }
    this.#clear();
    if (loss.kind === 'error') {
      this.#services.traffic.recordError();
      this.#requests.statements.undo(exchange.abandonAll());
    }
    this.#host.sharedLost(loss);
  }

  #avoid(work: Work): void {
    avoidNode(work, (this.#node as TopologyNode).name);
  }

  #again(work: Work): void {
    this.#services.traffic.recordRetry();
    this.#clear();
    this.#host.rerun(work);
  }

  #prepare(pace: Pace): void {
    this.pace = pace;
    this.settings = this.#host.memory.settings;
  }

  #run(
    work: Work,
    pace: Pace,
    connection: ServerConnection,
    pool: Pool,
    node: TopologyNode,
    reason: RouteReason,
  ): void {
    const { batch, startedMs } = work;
    const plain = batch === null ? null : encodePlain(batch, connection.statements, this.#variant);
    const exchange = new Exchange(this, batch !== null && plain === null, startedMs);
    exchange.plain = plain?.batch ?? null;
    this.#exchange = exchange;
    this.#connection = connection;
    this.#pool = pool;
    this.#node = node;
    this.#reason = reason;
    exchange.pace = pace;
    exchange.holdBack(sharedRefusable(pool.key.purpose === 'ro' && work.forced === null, this.#client.readOnly, batch));
    connection.sharing?.joined(exchange, pace);
    if (plain !== null) connection.submit(exchange, [plain.bytes]);
    else if (batch === null) connection.submit(exchange, [work.raw as Buffer]);
    else connection.submit(exchange, batch.encode(connection, exchange, this.#variant, 'sync'));
  }

  #clear(): void {
    this.#exchange = null;
    this.#connection = null;
    this.#pool = null;
    this.#node = null;
  }
}
