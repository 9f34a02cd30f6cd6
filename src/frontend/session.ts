/**
 * One client's connection after its login. States: `idle` (reads requests; may hold a link in a transaction), `waiting` (a request
 * looks for its server connection), `active` (an exchange is under way), `closed`.
 */
import type { Socket } from 'node:net';
import { Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import type { Identity } from '../backend/pools.ts';
import type { LinkHolder } from '../backend/server-connection.ts';
import type { SettingsSet } from '../backend/settings-set.ts';
import { nowMs } from '../core/clock.ts';
import type { Expiring } from '../core/deadlines.ts';
import { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import type { RouteReason } from '../routing/decision.ts';
import type { PinReason, Verdict } from '../sql/verdict.ts';
import { FrameReader, type FrameSink } from '../wire/frame-reader.ts';
import { CLIENT, STATUS } from '../wire/message-type.ts';
import { commandComplete, EMPTY_QUERY, errorResponse, noticeResponse, readyForQuery } from '../wire/writer.ts';
import { ClientOutput } from './client-output.ts';
import { Link } from './link.ts';
import { batchAnswer, localCommands, simpleAnswer } from './local-answer.ts';
import { LocalCommands } from './local-commands.ts';
import { afterLoss, type Loss, lostTransactionAnswer } from './loss.ts';
import { type Placed, Placement, type PlacementClient } from './placement.ts';
import { type Request, RequestReader } from './request-reader.ts';
import type { Services } from './services.ts';
import { SessionMemory } from './session-memory.ts';
import { SessionOptions } from './session-options.ts';
import { UnderWay } from './under-way.ts';
import { type Summary, summarize, type Work } from './work.ts';

/** Larger messages are passed on in pieces, if they are of a kind that may be so large. */
const COLLECT_BYTES = 16 * 1024 * 1024;
const LARGE: ReadonlySet<number> = new Set([CLIENT.QUERY, CLIENT.BIND, CLIENT.COPY_DATA, CLIENT.FUNCTION_CALL]);
/** Requests that a busy session's client may send ahead before it is no longer read. */
const BACKLOG_BYTES = 256 * 1024;
/** Errors of a replica that the primary may not have: the statement runs there instead. */
const REFUSABLE = new Set(['25006', '40001', '0A000', '42P01', '42883', '42703', '42704', '3F000', '55000']);

export type SessionState = 'idle' | 'waiting' | 'active' | 'closed';
type Transaction = 'none' | 'open' | 'failed' | 'lost';
const STATUS_OF = { none: STATUS.IDLE, open: STATUS.TRANSACTION, failed: STATUS.FAILED, lost: STATUS.FAILED } as const;

/** Where the previous statement went. */
export type LastRoute = { readonly node: string; readonly class: string; readonly reason: string };

/** A client as the handshake let it in. */
export type Client = {
  readonly socket: Socket;
  readonly identity: Identity;
  readonly database: string;
  readonly pid: number;
  /** Settings from the startup packet: what RESET falls back to. */
  readonly startupSettings: SettingsSet;
  readonly address: string;
};

export class Session implements FrameSink, ExchangeOwner, PlacementClient, LinkHolder, Expiring {
  readonly client: Client;
  readonly causality = new Causality();
  readonly options = new SessionOptions();
  readonly startedMs = nowMs();
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #services: Services;
  readonly #ended: (session: Session) => void;
  readonly #output: ClientOutput;
  readonly #reader: FrameReader;
  readonly #requests: RequestReader;
  readonly #underWay: UnderWay;
  readonly #memory: SessionMemory;
  readonly #placement: Placement;
  readonly #local: LocalCommands;
  #state: SessionState = 'idle';
  #transaction: Transaction = 'none';
  #work: Work | null = null;
  #summary: Summary | null = null;
  #link: Link | null = null;
  /** After an error inside a batch whose Sync has not come. */
  #skipToSync = false;
  #pendingLoss: FairleadError | null = null;
  lastRoute: LastRoute | null = null;

  constructor(client: Client, services: Services, ended: (session: Session) => void) {
    this.client = client;
    this.#services = services;
    this.#ended = ended;
    this.#memory = new SessionMemory(client.startupSettings);
    this.#output = new ClientOutput(client.socket);
    this.#reader = new FrameReader(this, COLLECT_BYTES, LARGE);
    this.#requests = new RequestReader(services, () => services.catalogs.of(client.database));
    this.#underWay = new UnderWay(this.#requests, {
      pauseClient: () => client.socket.pause(),
      resumeClient: () => this.#state !== 'closed' && client.socket.resume(),
      added: (verdicts) => this.#noteEffects(verdicts, true),
      violation: (reason) => this.violation(reason),
    });
    this.#placement = new Placement(services, this);
    this.#local = new LocalCommands(this, services);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Why it keeps its server connection between transactions; null when it does not. */
  get pinned(): PinReason | null {
    return this.#memory.pinned;
  }

  get linkedTo(): { readonly node: string; readonly pid: number } | null {
    return this.#link === null ? null : { node: this.#link.node.name, pid: this.#link.connection.pid };
  }

  get applicationName(): string {
    return this.#memory.settings.values.get('application_name') ?? '';
  }

  /** When the request at hand came, monotonic milliseconds; null between requests. */
  get requestStartedMs(): number | null {
    return this.#work?.startedMs ?? null;
  }

  /** Statements the client has prepared. */
  get preparedStatements(): number {
    return this.#requests.statements.size;
  }

  get inTransaction(): boolean {
    return this.#transaction !== 'none';
  }

  /** What it waits for, for people; null when it does not. */
  get waitingFor(): string | null {
    return this.#state === 'waiting' ? this.#placement.state : null;
  }

  start(): void {
    const { socket } = this.client;
    socket.on('data', (chunk) => this.#received(chunk));
    socket.on('drain', () => this.#link?.connection.resume());
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
  }

  /** Bytes that came right behind the login. */
  feed(chunk: Buffer): void {
    this.#received(chunk);
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    if (this.#state === 'waiting') {
      // with a link its settings are being applied: too early to cancel, as a request is that comes before its statement
      if (this.#link !== null) return;
      this.#placement.abort();
      this.#fail(new FairleadError('cancelled', 'canceling statement due to user request'));
    } else if (this.#state === 'active') this.#link?.connection.cancel();
  }

  /** Ends the session with a FATAL error. */
  terminate(error: FairleadError): void {
    if (this.#state === 'closed') return;
    this.#output.write(errorResponse('FATAL', error.sqlState, error.message, error.remedy));
    this.#output.flush();
    this.close();
  }

  /** The client is gone, or shall be. What it holds is given back or closed. */
  close(): void {
    if (this.#state === 'closed') return;
    const clean = this.#state === 'idle' && !this.inTransaction && this.pinned === null;
    this.#state = 'closed';
    this.#placement.abort();
    this.#services.deadlines.clear(this);
    this.#reader.end();
    const link = this.#link;
    this.#link = null;
    if (link !== null) {
      if (clean) link.release();
      else link.drop('the client is gone');
    }
    this.#output.flush();
    this.client.socket.end();
    this.client.socket.destroySoon();
    this.#ended(this);
  }

  expire(): void {
    this.terminate(
      new FairleadError('idle_in_transaction', 'terminating connection due to idle-in-transaction timeout'),
    );
  }

  // --- what the client sends ---------------------------------------------------------------------------------------

  message(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === CLIENT.TERMINATE) this.close();
    else if (this.#state === 'active') this.#underWay.message(type, buffer, start, end);
    else if (this.#state === 'idle') this.#idleMessage(type, buffer, start, end);
    return this.#wantsMore();
  }

  piece(type: number, length: number, offset: number, buffer: Buffer, start: number, end: number): boolean {
    const bytes = buffer.subarray(start, end);
    if (this.#state === 'active') this.#underWay.piece(type, length, offset, bytes);
    else if (this.#state === 'idle' && offset === 0 && !this.#skipToSync) {
      this.#underWay.expect(length - bytes.length);
      this.#request(this.#requests.readLarge(type, length, bytes));
    }
    return this.#wantsMore();
  }

  violation(reason: string): void {
    this.terminate(new FairleadError('protocol_violation', `invalid frontend message: ${reason}`));
  }

  #received(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    this.#reader.feed(chunk);
    if (this.#reader.backlogBytes > BACKLOG_BYTES) this.client.socket.pause();
  }

  #wantsMore(): boolean {
    if (this.#state === 'idle') return true;
    if (this.#state !== 'active') return false;
    return this.#underWay.wantsMore;
  }

  #readOn(): void {
    this.#reader.resume();
    if (this.#state !== 'closed' && this.#reader.backlogBytes <= BACKLOG_BYTES) this.client.socket.resume();
  }

  #idleMessage(type: number, buffer: Buffer, start: number, end: number): void {
    if (this.inTransaction) this.#services.deadlines.clear(this);
    if (!this.#skipToSync) return this.#request(this.#requests.read(type, buffer, start, end, this.#link !== null));
    if (type !== CLIENT.SYNC) return;
    this.#skipToSync = false;
    this.#sendReady();
  }

  #request(request: Request): void {
    switch (request.kind) {
      case 'work':
        return this.#begin(request.work);
      case 'sync':
        return this.#sendReady();
      case 'violation':
        return this.violation(request.reason);
      case 'none':
        return;
      default:
        request satisfies never;
    }
  }

  // --- finding a server connection ------------------------------------------------------------------------------------

  #begin(work: Work): void {
    this.#work = work;
    this.#summary = summarize(work.verdicts);
    this.#state = 'waiting';
    if (this.#transaction === 'lost') return this.#answerLost(work);
    if (work.kind === 'query' && work.verdicts[0]?.statements === 0) {
      this.#output.write(EMPTY_QUERY);
      return this.#answered();
    }
    const commands = localCommands(work.verdicts);
    if (commands !== null) {
      // whoever cancelled meanwhile has had an answer
      return this.#local.prepare(commands, () => {
        if (this.#work === work) this.#answerLocally(work);
      });
    }
    const deallocated = work.batch === null ? work.verdicts[0]?.deallocates?.name : undefined;
    if (work.verdicts.length === 1 && deallocated && this.#requests.statements.has(deallocated)) {
      // made by Parse: servers know it under another name
      this.#requests.statements.forget([deallocated]);
      this.#output.write(commandComplete('DEALLOCATE'));
      return this.#answered();
    }
    if (this.#link?.readOnly && work.verdicts.some(locks)) return this.#fail(advisoryLockOnReplica());
    if (this.#link !== null) return this.#run();
    this.#seek(work);
  }

  #seek(work: Work): void {
    const { routing } = this.#services.config();
    const summary = this.#summary as Summary;
    const mayRead =
      summary.read && work.forced === null && (work.synced || work.describeOnly) && !this.#memory.serializable;
    this.#placement.seek({
      database: this.client.database,
      identity: this.client.identity,
      read: mayRead
        ? {
            consistency: this.options.consistency(routing.consistency),
            maxStalenessMs: summary.maxStalenessMs ?? this.options.maxStalenessMs,
            hint: summary.hint,
            causality: this.causality,
            replicaReason: summary.replicaReason,
          }
        : null,
      reason: work.forced ?? summary.reason,
      avoid: work.avoid,
    });
  }

  placed(where: Placed): void {
    this.#link = new Link(where, this);
    this.#tellLoss();
    this.#run();
  }

  unplaceable(error: FairleadError): void {
    this.#fail(error);
  }

  #run(): void {
    const link = this.#link as Link;
    if (this.#transaction !== 'none' || link.connection.settings === this.#memory.settings) return this.#submit();
    link.apply(this.#memory.settings, (error) => {
      if (this.#state === 'closed' || this.#link !== link) return;
      if (error === null) return this.#submit();
      this.#dropLink('settings not applied');
      if (error.code === 'connection_lost') return this.#again(link, null);
      this.#fail(new FairleadError('bad_parameter', `the session's settings could not be applied: ${error.message}`));
    });
  }

  #submit(): void {
    const link = this.#link as Link;
    const work = this.#work as Work;
    const exchange = new Exchange(this, work.batch !== null, work.startedMs);
    const bytes = work.batch?.encode(link.connection, exchange, endOf(work)) ?? [];
    if (work.raw !== null) bytes.push(work.raw);
    if (link.readOnly && this.#transaction === 'none' && (this.#summary as Summary).class === 'read') {
      exchange.refusable = (sqlState) => REFUSABLE.has(sqlState);
      exchange.held = [];
    }
    exchange.open = work.batch !== null && !work.synced && !work.describeOnly;
    exchange.swallowReady = work.describeOnly;
    this.#underWay.begin(link, exchange);
    this.#state = 'active';
    link.connection.submit(exchange, bytes);
    if (this.#wantsMore()) this.#readOn();
  }

  // --- what the server answers ---------------------------------------------------------------------------------------

  reply(_exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    if (this.#state === 'closed') return;
    const keepsUp = this.#output.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end));
    if (!keepsUp) this.#link?.connection.pause();
  }

  copyIn(): void {
    this.#underWay.copyIn();
    this.#readOn();
  }

  async(buffer: Buffer, start: number, end: number): void {
    if (this.pinned !== null && this.#state !== 'closed') this.#output.write(buffer.subarray(start, end));
  }

  finished(exchange: Exchange, status: number): void {
    if (this.#state === 'closed') return;
    const link = this.#link as Link;
    const work = this.#work as Work;
    const atMs = nowMs();
    this.#account(link, work, exchange, atMs);
    if (exchange.failedParses !== null) this.#requests.statements.forget(exchange.failedParses);
    this.#transaction = status === STATUS.IDLE ? 'none' : status === STATUS.TRANSACTION ? 'open' : 'failed';
    this.#noteEffects(work.verdicts, exchange.sqlState === null);
    if (this.#transaction === 'none') this.options.endTransaction();
    this.#underWay.end();
    this.#work = null;
    if (work.describeOnly && exchange.sqlState !== null) this.#skipToSync = true;
    if (this.#memory.settingsChanged && this.#transaction === 'none') return this.#captureSettings(link);
    this.#rest();
  }

  refused(_exchange: Exchange, sqlState: string): void {
    if (this.#state === 'closed') return;
    const work = this.#work as Work;
    if (sqlState === '25006') this.#requests.statements.learnWrite(work);
    this.#again(this.#link as Link, 'retry');
  }

  lost(exchange: Exchange, error: FairleadError): void {
    if (this.#state === 'closed') return;
    const link = this.#link as Link;
    const work = this.#work as Work;
    const loss: Loss = afterLoss(
      this.#transaction !== 'none',
      this.pinned !== null,
      exchange,
      this.#summary as Summary,
      work,
      error,
    );
    this.#underWay.end();
    if (loss.kind === 'again') return this.#again(link, null);
    this.#link = null;
    if (loss.kind === 'close') return this.close();
    if (loss.kind === 'fatal') return this.terminate(loss.error);
    this.#transaction = loss.transaction;
    if (exchange.open) this.#skipToSync = true;
    this.#services.traffic.recordError();
    this.#fail(loss.error);
  }

  /** The linked connection broke while nothing was under way. */
  closed(error: FairleadError): void {
    if (this.#state === 'closed' || this.#link === null || this.#state !== 'idle') return;
    this.#link = null;
    if (this.pinned !== null) {
      return this.terminate(
        new FairleadError('session_lost', `${error.message}; the session kept it for: ${this.pinned}`),
      );
    }
    if (this.#transaction === 'none') return;
    this.#transaction = 'lost';
    this.#pendingLoss = new FairleadError('transaction_lost', `the transaction was lost: ${error.message}`);
  }

  #account(link: Link, work: Work, exchange: Exchange, atMs: number): void {
    const { cluster, traffic } = this.#services;
    const summary = this.#summary as Summary;
    const linked = this.#transaction !== 'none' ? (link.readOnly ? 'read only transaction' : 'transaction') : null;
    const reason: RouteReason = this.pinned !== null ? 'pinned' : (linked ?? link.reason);
    traffic.record(link.node.index, summary.traffic, reason, atMs - work.startedMs, atMs);
    if (exchange.sqlState !== null) traffic.recordError(atMs);
    this.lastRoute = { node: link.node.name, class: summary.class, reason: describeRoute(reason, summary, link) };
    if (link.readOnly) this.causality.ranOnReplica(link.node.name, atMs);
    else this.causality.ranOnPrimary(cluster.samples.next);
  }

  #noteEffects(verdicts: readonly Verdict[], succeeded: boolean): void {
    for (const verdict of verdicts) {
      this.#memory.note(verdict, succeeded, this.inTransaction);
      if (!succeeded) continue;
      const gone = verdict.deallocates ?? null;
      if (gone !== null) this.#deallocated(gone.name);
      if (verdict.unpin === 'all') this.options.resetAll();
    }
  }

  /** DEALLOCATE in SQL also takes statements that were made by Parse. On the server the shared names stay, unless all went. */
  #deallocated(name: string | null): void {
    if (name !== null) return this.#requests.statements.forget([name]);
    this.#requests.statements.forgetAll();
    const connection = this.#link?.connection;
    connection?.prepared.clear();
    if (connection !== undefined) connection.unnamed = null;
  }

  #captureSettings(link: Link): void {
    this.#reader.stop();
    this.#memory.capture(link, (known) => {
      if (this.#state === 'closed') return;
      if (known) return this.#rest();
      const text = 'the server connection broke before the new settings were known';
      this.terminate(new FairleadError('session_lost', text));
    });
  }

  /** Between two requests: the link is given back unless something keeps it. */
  #rest(): void {
    const link = this.#link;
    if (
      link !== null &&
      this.#transaction === 'none' &&
      this.pinned === null &&
      this.#services.config().pool.mode === 'transaction'
    ) {
      this.#link = null;
      link.release();
    }
    this.#state = 'idle';
    const { idle_transaction_timeout: timeoutMs } = this.#services.config().pool;
    if (this.#transaction !== 'none' && timeoutMs > 0) this.#services.deadlines.set(this, nowMs() + timeoutMs);
    this.#readOn();
  }

  /** The same request once more, elsewhere. */
  #again(link: Link, forced: RouteReason | null): void {
    const work = this.#work as Work;
    this.#services.traffic.recordRetry();
    this.#underWay.end();
    if (this.#link === link) this.#link = null;
    if (!link.connection.closed) link.release();
    work.avoid ??= new Set();
    if (link.readOnly) work.avoid.add(link.node.name);
    if (forced !== null) work.forced = forced;
    this.#state = 'waiting';
    this.#seek(work);
  }

  #dropLink(reason: string): void {
    const link = this.#link;
    this.#link = null;
    link?.drop(reason);
  }

  // --- answers of our own --------------------------------------------------------------------------------------------

  /** The request ends with an error; the session goes on. */
  #fail(error: FairleadError): void {
    const work = this.#work;
    this.#output.write(errorResponse('ERROR', error.sqlState, error.message, error.remedy));
    if (this.#underWay.insideMessage) return this.terminate(error);
    if (work !== null && !work.synced) this.#skipToSync = true;
    else this.#skipToSync = false;
    if (!this.#skipToSync) return this.#answered();
    this.#work = null;
    this.#rest();
  }

  #answered(): void {
    const synced = this.#work?.synced ?? true;
    this.#work = null;
    if (synced) this.#sendReady();
    this.#rest();
  }

  #sendReady(): void {
    this.#output.write(readyForQuery(STATUS_OF[this.#transaction]));
  }

  #answerLost(work: Work): void {
    const answer = lostTransactionAnswer(work, this.#pendingLoss);
    this.#pendingLoss = null;
    this.#output.write(answer.bytes);
    if (answer.ends) {
      this.#transaction = 'none';
      this.options.endTransaction();
    }
    if (!work.synced) this.#skipToSync = true;
    this.#answered();
  }

  #answerLocally(work: Work): void {
    try {
      const run = (verdict: Verdict) => this.#local.run(verdict, this.#transaction !== 'none');
      if (work.batch === null) for (const verdict of work.verdicts) this.#output.write(simpleAnswer(run(verdict)));
      else this.#output.write(batchAnswer(work.batch, (verdict) => this.#local.columns(verdict), run));
      this.#answered();
    } catch (error) {
      this.#fail(error as FairleadError);
    }
  }

  /** Says once that a failover left behind some of what this session wrote or saw. */
  #tellLoss(): void {
    const fork = this.causality.lostAt;
    if (fork === null) return;
    this.causality.lostAt = null;
    this.#output.write(
      noticeResponse(
        'WARNING',
        '01000',
        `the failover of epoch ${fork.epoch} lost WAL that this session had written or seen`,
        'GET /api/events lists the commits that were lost',
      ),
    );
  }
}

function endOf(work: Work): 'sync' | 'flush' | 'none' {
  if (work.describeOnly || (work.synced && work.raw === null)) return 'sync';
  return work.synced ? 'none' : 'flush';
}

/** Advisory locks succeed silently on a standby, where nobody else sees them. */
function locks(verdict: Verdict): boolean {
  return verdict.functions.some((f) => f.name.includes('advisory'));
}

function advisoryLockOnReplica(): FairleadError {
  return new FairleadError(
    'unsupported',
    'an advisory lock taken in a READ ONLY transaction on a replica would exclude nobody',
    'begin the transaction without READ ONLY',
  );
}

function describeRoute(reason: RouteReason, summary: Summary, link: Link): string {
  return link.readOnly || reason !== summary.reason || summary.detail === reason
    ? reason
    : `${reason}: ${summary.detail}`;
}
