/**
 * Runs the requests of one session on server connections: finds one, brings it to the session's settings, relays the exchange, and
 * draws the consequences. States: `idle` (may hold a link in a transaction), `waiting` (a request looks for its server connection),
 * `active` (an exchange, or a question of our own behind it, is under way), `closed`.
 */
import type { Exchange, ExchangeOwner } from '../backend/exchange.ts';
import type { LinkHolder } from '../backend/link-holder.ts';
import { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import type { RouteReason } from '../routing/decision.ts';
import { STATUS } from '../wire/message-type.ts';
import type { LastRoute } from './accounting.ts';
import { cancelled } from './cancelled.ts';
import type { Transaction } from './client-output.ts';
import { CommitOutcome } from './commit-outcome.ts';
import { readBack, restoreSettings } from './effects.ts';
import type { ExecutionHost, ExecutionState } from './execution-host.ts';
import { mustWait, whyLost } from './hand-over.ts';
import { settleAt } from './home.ts';
import { Link } from './link.ts';
import { afterLoss, endOfPinned, type FinalLoss, lostTransaction } from './loss.ts';
import { MovableStart } from './movable-start.ts';
import { type Placed, Placement, type PlacementClient } from './placement.ts';
import { placementRequest } from './placement-request.ts';
import { needsOf, readyLink } from './ready-link.ts';
import { refusable } from './refusable.ts';
import { requestExchange } from './request-exchange.ts';
import type { RequestReader } from './request-reader.ts';
import { RunningStatements, ranAll } from './running-statements.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import { SessionMemory } from './session-memory.ts';
import { SessionOptions } from './session-options.ts';
import { SessionSettings } from './session-settings.ts';
import { SharedRead, type SharedReadHost } from './shared-read.ts';
import { splitPolicy } from './split-policy.ts';
import { UnderWay } from './under-way.ts';
import { type Variant, variantsOf } from './variant.ts';
import { avoidNode, type Work } from './work.ts';

export class Execution implements ExchangeOwner, PlacementClient, LinkHolder, SharedReadHost {
  readonly clientPid: number;
  readonly options: SessionOptions;
  readonly causality: Causality;
  readonly memory: SessionMemory;
  readonly underWay: UnderWay;
  readonly settings: SessionSettings;
  readonly start: MovableStart;
  readonly #client: Client;
  readonly #services: Services;
  readonly #host: ExecutionHost;
  readonly #requests: RequestReader;
  placement: Placement | null = null;
  readonly outcome: CommitOutcome;
  readonly #variant: Variant;
  state: ExecutionState = 'idle';
  transaction: Transaction = 'none';
  work: Work | null = null;
  readonly statements: RunningStatements;
  readonly sharedRead: SharedRead;
  link: Link | null = null;
  #cancelEarly = false; // while the link was being made ready
  #home: Link['connection'] | null = null;

  constructor(client: Client, services: Services, requests: RequestReader, host: ExecutionHost) {
    this.#client = client;
    this.clientPid = client.pid;
    this.#services = services;
    this.#host = host;
    this.#requests = requests;
    this.options = new SessionOptions(services.causalityKeys);
    this.causality = new Causality(this.options);
    this.settings = new SessionSettings(services.config, client.database, client.identity);
    this.memory = new SessionMemory(client.startupSettings);
    this.start = new MovableStart(client.readOnly, splitPolicy(client, services, this));
    this.#variant = variantsOf(services.statements, this);
    this.statements = new RunningStatements(client, services, this, requests.statements);
    this.sharedRead = new SharedRead(client, services, this, requests, this.#variant, host);
    this.causality.begin(services.cluster);
    this.outcome = new CommitOutcome(client, services, this, host);
    this.underWay = new UnderWay(requests, this.statements, this.#variant, host);
  }

  /** Takes on a request; `run`, or an answer of our own, follows. */
  accept(work: Work): void {
    this.work = work;
    this.statements.accept(work);
    this.#cancelEarly = false;
    this.state = 'waiting';
  }

  /** Runs the accepted request on a server. */
  run(): void {
    const work = this.work as Work;
    if (this.start.concerns(work, this.transaction)) this.link = this.start.leave(this.link as Link, work);
    const link = this.link;
    if (link === null) return this.#seek(work);
    if (this.transaction !== 'none' || !mustWait(link, work, this.#services)) return this.#use(link);
    this.placement ??= new Placement(this.#services, this);
    this.placement.keep(link.node.name, () => this.#use(link));
  }

  #use(link: Link): void {
    // a cancel request under way is meant for what ran before
    link.connection.afterCancel(() => this.#apply(link));
  }

  /** The accepted request was answered by ourselves. `ended`: a transaction that was lost is over with it. */
  settled(ended: boolean): void {
    if (ended) {
      this.transaction = 'none';
      this.#transactionEnded();
    }
    this.work = null;
    this.#rest(false);
  }

  /** @returns false when there is nothing that an answer from us could end. */
  cancel(): boolean {
    if (this.outcome.giveUp()) return false;
    // without an exchange it is our own question that runs
    if (this.state === 'active' && this.underWay.exchange !== null)
      this.link?.connection.cancelFor(this.underWay.exchange);
    else if (this.state === 'active') return this.sharedRead.cancel();
    if (this.state !== 'waiting') return false;
    // with a link its settings are being applied: what the client believes to run is refused when its turn comes
    const applying = this.link !== null && this.placement?.keeps !== true;
    if (applying) this.#cancelEarly = this.transaction === 'none';
    else this.placement?.abort();
    if (this.link === null && this.start.abandon()) this.transaction = 'lost';
    return !applying;
  }

  /** The client has caught up with what was relayed to it. */
  drained(): void {
    this.link?.connection.resume();
    this.sharedRead.drained();
  }

  /** The session is over: what it holds is given back or closed. */
  close(): void {
    const idle = this.state === 'idle' && this.transaction === 'none';
    const link = this.link;
    this.state = 'closed';
    this.link = null;
    this.placement?.abort();
    this.outcome.abort();
    this.causality.end();
    this.sharedRead.leave();
    this.#home = settleAt(null, this.#home, this);
    if (link?.shared === true && this.underWay.exchange !== null) link.connection.disown(this.underWay.exchange);
    else link?.leave(idle, this.memory.pinned !== null, this.settings.now);
  }

  sharedAnswered(route: LastRoute): void {
    this.statements.lastRoute = route;
    this.work = null;
    this.state = 'idle';
    this.#host.rested(false);
  }

  rerun(work: Work): void {
    this.accept(work);
    this.#seek(work);
  }

  sharedLost(loss: FinalLoss): void {
    if (loss.kind === 'error') this.#fail(loss.error, true);
    else if (loss.kind === 'fatal') this.#host.terminate(loss.error);
    else this.#host.close();
  }

  #seek(work: Work): void {
    const rider = this.keepsLink ? null : this.sharedRead.rider(work);
    this.placement ??= new Placement(this.#services, this);
    this.placement.seek(
      placementRequest(this.#client, work, this, this.#requests.schema, this.#services.config(), rider),
    );
  }

  placed(where: Placed): void {
    if (where.shared) {
      this.state = 'active';
      return this.sharedRead.take(this.work as Work, where);
    }
    const link = new Link(where, this);
    this.link = link;
    this.outcome.meets(link);
    if (!link.readOnly) this.#home = settleAt(where.connection, this.#home, this);
    this.#host.listening.beforeUse(link, () => this.#apply(link));
  }

  unplaceable(error: FairleadError): void {
    this.#fail(error, (this.work as Work).synced);
  }

  #apply(link: Link): void {
    if (this.link !== link) return;
    const work = this.work as Work;
    const { start, memory, statements } = this;
    statements.begin(work);
    const needs = needsOf(link, work, this.transaction, start, memory, statements.sequences, this.#variant);
    if (needs === null) return this.#submit(link);
    readyLink(link, needs, (error) => {
      if (this.state === 'closed' || this.link !== link) return;
      if (error === null || (needs.inTransaction && error.code === 'connection_lost')) return this.#submit(link);
      if (needs.inTransaction) this.transaction = 'failed';
      if (needs.inTransaction || error.code === 'outdated_types') return this.#fail(error, work.synced);
      this.link = null;
      link.drop('settings not applied');
      if (memory.pinned !== null && !link.fresh) return this.#host.terminate(endOfPinned(error, memory.pinned));
      return error.code === 'connection_lost' ? this.#again(link, null) : this.#fail(error, work.synced);
    });
  }

  #submit(link: Link): void {
    const work = this.work as Work;
    if (this.#cancelEarly) return this.#fail(cancelled(), work.synced);
    const where = { onReplica: link.readOnly && work.forced === null, readOnlyPort: this.#client.readOnly };
    const restores = work.synced && this.memory.mayRestore(work.verdicts);
    const { exchange, bytes } = requestExchange(this, link, work, {
      variant: this.#variant,
      refusable: this.keepsLink && !this.start.split ? null : refusable(where, this.statements.summary, work),
      swallowReady: work.describeOnly || restores || this.#host.listening.listens,
    });
    this.underWay.begin(link, exchange);
    this.state = 'active';
    if (!this.keepsLink) this.sharedRead.first(link, exchange, work);
    if (this.transaction === 'open' && this.statements.wrote) this.outcome.ask(link, work, exchange, this.memory);
    link.connection.submit(exchange, bytes);
    if (exchange.open) link.connection.settle(exchange);
    if (this.underWay.wantsMore) this.#host.readOn();
  }

  reply(exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    if (this.state === 'closed') return;
    const keepsUp = this.#host.relay(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end));
    if (!keepsUp) this.link?.connection.pauseFor(exchange);
  }

  copyIn(): void {
    this.underWay.copyIn();
    this.#host.readOn();
  }

  skipping(): void {
    this.#host.readOn();
  }

  async(buffer: Buffer, start: number, end: number): void {
    const listens = this.memory.pinned !== null || this.statements.listen;
    if (listens && this.link !== null && this.state !== 'closed') this.#host.async(this.link, buffer, start, end);
  }

  finished(exchange: Exchange, status: number): void {
    if (this.state === 'closed') return;
    const [link, work] = [this.link as Link, this.work as Work];
    const now = status === STATUS.IDLE ? 'none' : status === STATUS.TRANSACTION ? 'open' : 'failed';
    const { memory, statements, transaction: before } = this;
    this.transaction = now;
    const { running } = statements;
    const [succeeded, certain] = [exchange.sqlState === null, ranAll(work, running)];
    statements.answered(link, work, exchange, before, now, certain);
    if (this.#host.listening.answered(running, succeeded, before, now)) memory.heardElsewhere();
    this.start.note(work, link, before, now, succeeded);
    this.#requests.schema.ran(running, now !== 'none');
    if (now === 'none') this.#transactionEnded();
    const cutShort = this.underWay.insideMessage;
    this.underWay.end();
    if (!exchange.swallowReady || work.describeOnly)
      return this.#settle(link, work.describeOnly && !succeeded, cutShort);
    const restored = succeeded && certain ? memory.restored(running) : null;
    this.#host.stopReading();
    restoreSettings(link, restored, this.#host, () => this.#host.ready(() => this.#settle(link, false, cutShort)));
  }

  /** What the exchange changed in the session is read back before anything else runs. */
  #settle(link: Link, skip: boolean, cutShort: boolean): void {
    if (this.state === 'closed') return;
    this.work = null;
    if (cutShort) return this.#leaveInsideMessage(link);
    if (this.transaction !== 'none') return this.#rest(skip);
    readBack(this.memory, link, this.#host, (error) => {
      if (this.state === 'closed') return;
      if (error === null) this.#rest(skip);
      else this.#host.terminate(error);
    });
  }

  /** The server ended a COPY inside a long message of the client: it will take whatever comes next for the rest of that. */
  #leaveInsideMessage(link: Link): void {
    this.link = null;
    link.drop('the client is inside a message that is of no use any more');
    if (this.memory.pinned !== null || this.memory.settingsChanged)
      return this.#host.terminate(new FairleadError('session_lost', 'the server ended COPY inside a message'));
    if (this.transaction !== 'none') this.transaction = 'lost';
    this.#rest(false);
  }

  refused(_exchange: Exchange, sqlState: string): void {
    if (this.state === 'closed') return;
    const [link, work] = [this.link as Link, this.work as Work];
    if (sqlState === '25006') this.#requests.statements.learnWrite(work);
    if (!link.readOnly || work.forced !== null) work.losses++;
    this.#again(link, link.readOnly ? 'retry' : null);
  }

  lost(exchange: Exchange, error: FairleadError): void {
    if (this.state === 'closed') return;
    const [link, work, inTransaction] = [this.link as Link, this.work as Work, this.transaction !== 'none'];
    const why = whyLost(error, link, this.#services);
    const loss = afterLoss(inTransaction, this.memory.pinned !== null, exchange, this.statements.all, work, why);
    this.underWay.end();
    work.losses++;
    if (loss.kind === 'again') return this.#again(link, null);
    this.link = null;
    if (loss.kind === 'error' && this.outcome.search(exchange, loss.error)) this.state = 'waiting';
    else this.#endLost(exchange, loss);
  }

  /** It is found out what became of a COMMIT, by a link that is the session's now; or that cannot be, and `loss` tells why. */
  resolved(exchange: Exchange, link: Link | null, loss: FinalLoss | null): void {
    this.state = 'active';
    this.link = link;
    if (loss === null) this.finished(exchange, STATUS.IDLE);
    else this.#endLost(exchange, loss);
  }

  #endLost(exchange: Exchange, loss: FinalLoss): void {
    this.statements.lost();
    this.start.end();
    this.#host.listening.answered([], false, 'open', 'none');
    if (loss.kind !== 'error') return this.sharedLost(loss);
    this.transaction = loss.transaction;
    if (loss.transaction === 'none') this.#transactionEnded();
    this.#services.traffic.recordError();
    this.#requests.statements.undo(exchange.abandonAll());
    this.#fail(loss.error, !exchange.open && !(this.work as Work).describeOnly);
  }

  closed(error: FairleadError): void {
    const { link } = this;
    const held = this.placement?.keeps === true;
    // whoever uses it is told
    if (link === null || (this.state !== 'idle' && !held)) return;
    if (held) this.placement?.abort();
    this.link = null;
    const why = whyLost(error, link, this.#services);
    if (this.memory.pinned !== null) return this.#host.terminate(endOfPinned(why, this.memory.pinned));
    if (held) return this.#seek(this.work as Work);
    if (this.transaction === 'none') return;
    this.start.end();
    this.#host.listening.answered([], false, 'open', 'none');
    this.transaction = 'lost';
    this.#host.lostSilently(lostTransaction(why));
  }

  #transactionEnded(): void {
    this.options.endTransaction();
    this.memory.endTransaction();
  }

  get keepsLink(): boolean {
    return this.transaction !== 'none' || this.memory.pinned !== null || this.settings.now.mode === 'session';
  }

  /** The link is given back unless something keeps it. */
  #rest(skip: boolean): void {
    const link = this.link;
    this.state = 'idle';
    if (link !== null && (link.shared || !this.keepsLink)) {
      this.link = null;
      link.release();
      this.statements.rested();
    } else if (link?.connection.gone) this.closed(link.connection.gone);
    this.#host.rested(skip);
  }

  #fail(error: FairleadError, synced: boolean): void {
    if (this.state === 'waiting') this.#requests.statements.abandoned(this.work as Work);
    this.work = null;
    if (this.start.abandon()) this.transaction = 'lost';
    this.#host.failed(error, synced);
    if (this.state !== 'closed') this.#rest(!synced);
  }

  /** The same request once more, elsewhere. */
  #again(link: Link, forced: RouteReason | null): void {
    const work = this.work as Work;
    this.#services.traffic.recordRetry();
    this.underWay.end();
    if (this.link === link) this.link = null;
    if (this.start.split && this.transaction === 'open') this.start.leave(link, work);
    else if (!link.connection.closed) link.release();
    if (link.readOnly) avoidNode(work, link.node.name);
    if (forced !== null) work.forced = forced;
    this.state = 'waiting';
    this.#seek(work);
  }
}
