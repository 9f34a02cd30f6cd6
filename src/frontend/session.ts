/** One client's connection after its login: what it sends, what it is told, when it ends. Running its requests is `Execution`'s. */
import type { Socket } from 'node:net';
import type { Identity } from '../backend/pools.ts';
import { LoginRefused } from '../backend/server-login.ts';
import type { SettingsSet } from '../backend/settings-set.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Causality } from '../routing/causality.ts';
import type { PinReason } from '../sql/verdict.ts';
import { TlsRefused } from '../transport/server-socket.ts';
import type { FrameSink } from '../wire/frame-reader.ts';
import { CLIENT, SERVER } from '../wire/message-type.ts';
import type { LastRoute } from './accounting.ts';
import { cancelled } from './cancelled.ts';
import { ClientConnection, type ClientEvents } from './client-connection.ts';
import type { ClientOutput } from './client-output.ts';
import { Execution } from './execution.ts';
import type { ExecutionHost, ExecutionState } from './execution-host.ts';
import { Linger, type LingerHost } from './linger.ts';
import type { Link } from './link.ts';
import { ListeningHost } from './listening-host.ts';
import { type OwnAnswerHost, OwnAnswers } from './own-answers.ts';
import { type Request, RequestReader } from './request-reader.ts';
import type { Services } from './services.ts';
import { type ClockHost, SessionClock } from './session-clock.ts';
import { SessionListening } from './session-listening.ts';
import type { SessionOptions } from './session-options.ts';
import { transactionBlockRefused } from './statement-mode.ts';
import type { Work } from './work.ts';

/** A client as the handshake let it in. */
export type Client = {
  readonly socket: Socket;
  readonly identity: Identity;
  readonly database: string;
  readonly pid: number;
  /** What it may cancel with besides: bytes as latin1, which take less room than a buffer. */
  readonly cancelSecret: string;
  /** Settings from the startup packet: what RESET falls back to. */
  readonly startupSettings: SettingsSet;
  readonly address: string;
  /** It came in by the read-only port: whatever it asks for, it is served as by a standby. */
  readonly readOnly: boolean;
  /** Its role is a superuser on the servers. */
  readonly superuser: boolean;
};

export class Session implements FrameSink, ClientEvents, ExecutionHost, OwnAnswerHost, ClockHost, LingerHost {
  readonly client: Client;
  readonly startedMs = nowMs();
  /** When its latest request came, monotonic milliseconds. */
  lastRequestMs = this.startedMs;
  readonly #services: Services;
  readonly #ended: (session: Session) => void;
  readonly #connection: ClientConnection;
  readonly #output: ClientOutput;
  readonly #requests: RequestReader;
  readonly #execution: Execution;
  readonly #own: OwnAnswers;
  readonly #clock: SessionClock;
  /** Null while no batch was ever without its end. */
  #linger: Linger | null = null;
  readonly listening: SessionListening;
  /** After an error inside a batch whose Sync has not come. */
  #skipToSync = false;

  constructor(client: Client, services: Services, ended: (session: Session) => void) {
    this.client = client;
    this.#services = services;
    this.#ended = ended;
    this.#connection = new ClientConnection(client.socket, this);
    this.#output = this.#connection.output;
    this.#requests = new RequestReader(services, client.database);
    this.#execution = new Execution(client, services, this.#requests, this);
    const host = new ListeningHost(client, services, this.#connection, this.#execution, this);
    this.listening = new SessionListening(host, services);
    this.#clock = new SessionClock(services.deadlines, this.#execution.settings, this);
    this.#own = new OwnAnswers(this, services, this.#requests.statements);
  }

  get state(): ExecutionState {
    return this.#execution.state;
  }

  get causality(): Causality {
    return this.#execution.causality;
  }

  get options(): SessionOptions {
    return this.#execution.options;
  }

  get lastRoute(): LastRoute | null {
    return this.#execution.statements.lastRoute;
  }

  /** Why it keeps its server connection between transactions; null when it does not. */
  get pinned(): PinReason | null {
    return this.#execution.memory.pinned;
  }

  get linkedTo(): { readonly node: string; readonly pid: number } | null {
    const { link } = this.#execution;
    return link === null ? this.#execution.sharedRead.linkedTo : { node: link.node.name, pid: link.connection.pid };
  }

  /** The role it has taken with SET ROLE; null while it has its own. */
  get role(): string | null {
    const role = this.#execution.memory.settings.values.get('role') ?? 'none';
    return role === 'none' ? null : role;
  }

  get applicationName(): string {
    return this.#execution.memory.settings.values.get('application_name') ?? '';
  }

  /** When the request at hand came, monotonic milliseconds; null between requests. */
  get requestStartedMs(): number | null {
    return this.#execution.work?.startedMs ?? null;
  }

  /** Statements the client has prepared. */
  get preparedStatements(): number {
    return this.#requests.statements.size;
  }

  get inTransaction(): boolean {
    return this.#execution.transaction !== 'none';
  }

  /** What it waits for, for people; null when it does not. */
  get waitingFor(): string | null {
    return this.#execution.placement?.waitingFor ?? null;
  }

  /** @param rest bytes that came right behind the login */
  start(rest: Buffer | null): void {
    this.#connection.start();
    this.#clock.rested(false);
    if (rest !== null) this.#connection.feed(rest);
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    if (this.#execution.cancel()) {
      this.listening.abandon();
      this.#fail(cancelled());
    }
  }

  /** Ends the session with a FATAL error. */
  terminate(error: FairleadError): void {
    if (this.state === 'closed') return;
    this.#output.fatal(error);
    this.#close(true);
  }

  /** The client is gone, or shall be. */
  close(): void {
    this.#close(false);
  }

  #close(told: boolean): void {
    if (this.state === 'closed') return;
    this.#execution.close();
    this.#clock.stop();
    this.#linger?.heard(false);
    this.listening.end();
    this.#connection.end(told);
    this.#ended(this);
  }

  get runningSinceMs(): number | null {
    const { link, work } = this.#execution;
    return this.state !== 'active' || work === null ? null : Math.max(link?.sinceMs ?? 0, work.startedMs);
  }

  cancelRunning(): void {
    this.cancel();
  }

  /** No new clients are taken: the session ends unless it has something to finish. */
  drain(): void {
    // a statement that is held has not begun, and may wait for long
    const rests = this.state === 'idle' || this.waitingFor === 'hold';
    if (rests && !this.inTransaction) {
      this.terminate(new FairleadError('shutting_down', 'terminating connection due to administrator command'));
    }
  }

  // --- what the client sends -----------------------------------------------------------------------------------------

  message(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === CLIENT.TERMINATE) this.close();
    else if (this.state === 'active') this.#execution.underWay.message(type, buffer, start, end);
    else if (this.state === 'idle') this.#idleMessage(type, buffer, start, end);
    const unfinished = this.#requests.unfinished && this.state !== 'closed';
    if (unfinished) this.#linger ??= new Linger(this.#services.deadlines, this);
    this.#linger?.heard(unfinished);
    return this.#wantsMore();
  }

  piece(type: number, length: number, offset: number, buffer: Buffer, start: number, end: number): boolean {
    const bytes = buffer.subarray(start, end);
    this.#clock.stop();
    if (this.state === 'active') this.#execution.underWay.piece(type, length, offset, bytes);
    else if (this.state === 'idle' && offset === 0 && !this.#skipToSync) {
      const request = this.#requests.readLarge(type, length, bytes);
      if (request.kind === 'stream' || request.kind === 'batch') this.#execution.underWay.expect(length - bytes.length);
      this.#request(request);
    }
    return this.#wantsMore();
  }

  sendOn(): void {
    if (this.state === 'active') this.#execution.underWay.sendOn();
    else if (this.state === 'idle') this.#request(this.#requests.early(this.#execution.link !== null));
  }

  violation(reason: string): void {
    this.terminate(new FairleadError('protocol_violation', `invalid frontend message: ${reason}`));
  }

  crashed(error: unknown): void {
    this.#services.log.error({ error: messageOf(error), stack: (error as Error).stack }, 'a session failed');
    this.terminate(new FairleadError('internal', `internal error: ${messageOf(error)}`));
  }

  #wantsMore(): boolean {
    if (this.state === 'idle') return !this.#connection.clogged;
    return this.state === 'active' && this.#execution.underWay.wantsMore;
  }

  #idleMessage(type: number, buffer: Buffer, start: number, end: number): void {
    this.#clock.stop();
    if (!this.#skipToSync) {
      return this.#request(this.#requests.read(type, buffer, start, end, this.#execution.link !== null));
    }
    if (type !== CLIENT.SYNC) return;
    this.#skipToSync = false;
    this.#output.ready(this.#execution.transaction);
  }

  #request(request: Request): void {
    switch (request.kind) {
      case 'query':
      case 'batch':
      case 'stream':
        return this.#work(request);
      case 'sync':
        return this.#output.ready(this.#execution.transaction);
      case 'violation':
        return this.violation(request.reason);
      case 'none':
        // a batch without its end is no reason to stay for ever
        return this.#clock.rested(this.inTransaction);
      default:
        request satisfies never;
    }
  }

  #work(work: Work): void {
    const execution = this.#execution;
    this.lastRequestMs = work.startedMs;
    if (execution.sharedRead.join(work)) return this.#clock.began();
    const { link, transaction } = execution;
    for (const { vacates } of work.verdicts) {
      if (vacates !== undefined) this.#services.databases.expect(vacates);
    }
    execution.accept(work);
    this.#clock.began();
    const { mode } = execution.settings.now;
    const onReplica = link?.readOnly === true && !execution.start.concerns(work, transaction);
    if (this.#own.take(work, transaction, onReplica, mode)) return;
    this.listening.beforeRun(work, transaction, (error) => {
      if (execution.work !== work || this.state === 'closed') return;
      if (error === null) execution.run();
      else this.#fail(error);
    });
  }

  // --- what the client is told ---------------------------------------------------------------------------------------

  relay(bytes: Buffer): boolean {
    const fork = this.causality.lostAt;
    if (fork !== null) {
      this.causality.lostAt = null;
      this.#output.warnOfLoss(fork);
    }
    return this.#output.write(bytes);
  }

  rested(skip: boolean): void {
    if (this.state === 'closed') return;
    if (skip) this.#skipToSync = true;
    this.listening.flush();
    if (this.#services.lifecycle.draining && !this.inTransaction) return this.drain();
    if (this.inTransaction && this.#execution.settings.now.mode === 'statement') {
      return this.terminate(transactionBlockRefused());
    }
    this.#clock.rested(this.inTransaction);
    // whoever does not read answers gets no more of them
    if (!this.#connection.clogged) this.#connection.readOn();
  }

  async(link: Link, buffer: Buffer, start: number, end: number): void {
    const notified = buffer[start] === SERVER.NOTIFICATION;
    const bytes = notified ? this.listening.own(link, buffer, start, end) : buffer.subarray(start, end);
    if (bytes !== null) this.relay(bytes);
  }

  ready(then: () => void): void {
    const { transaction } = this.#execution;
    const tell = () => {
      if (this.state === 'closed') return;
      this.#output.ready(transaction);
      then();
    };
    if (transaction !== 'none') return tell();
    this.stopReading();
    this.listening.settle(tell);
  }

  failed(error: FairleadError, synced: boolean): void {
    if (endsSession(error)) return this.terminate(error);
    this.#output.error(error);
    if (this.#execution.underWay.insideMessage) this.terminate(error);
    else if (synced) this.#output.ready(this.#execution.transaction);
  }

  lostSilently(error: FairleadError): void {
    this.#own.remember(error);
  }

  answer(work: Work, bytes: Buffer, ends: boolean): void {
    if (this.#execution.work !== work) return;
    this.#output.write(bytes);
    if (work.synced) this.#output.ready(ends ? 'none' : this.#execution.transaction);
    // an answer to part of a batch is no error: the rest of the batch follows
    else if (this.#execution.transaction === 'lost') this.#skipToSync = true;
    this.#execution.settled(ends);
  }

  fail(work: Work, error: FairleadError): void {
    if (this.#execution.work === work) this.#fail(error);
  }

  /** The request at hand is refused by ourselves. */
  #fail(error: FairleadError): void {
    const synced = this.#execution.work?.synced ?? true;
    if (this.#execution.work !== null) this.#requests.statements.abandoned(this.#execution.work);
    this.failed(error, synced);
    if (this.state === 'closed') return;
    if (!synced) this.#skipToSync = true;
    this.#execution.settled(false);
  }

  drained(): void {
    this.#execution.drained();
    if (this.state === 'idle') this.#connection.readOn();
  }

  // --- the pace of the client ----------------------------------------------------------------------------------------

  pauseClient(): void {
    this.#connection.pause();
  }

  resumeClient(): void {
    this.#connection.resume();
  }

  stopReading(): void {
    this.#connection.stopReading();
  }

  readOn(): void {
    this.#connection.readOn();
  }
}

/** The database is gone, the role may not come in any more, or its key is outdated: a new login tells, or heals it. */
function endsSession(error: FairleadError): boolean {
  if (error instanceof LoginRefused) return !error.transient;
  return error.code === 'server_login_failed' && !(error instanceof TlsRefused);
}
