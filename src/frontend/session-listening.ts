import { readNotification } from '../backend/notification.ts';
import type { FairleadError } from '../core/errors.ts';
import { type ListenStep, pinsFor, type Verdict } from '../sql/verdict.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import type { ListenStatementsHost } from './listen-statements.ts';
import type { Services } from './services.ts';
import { Subscriptions, type SubscriptionsHost } from './subscriptions.ts';
import type { Work } from './work.ts';

/** The session as far as listening goes. */
export type SessionListeningHost = SubscriptionsHost & {
  readonly clientPid: number;
  /** It cannot share: what its server connection listens on is all that it hears. */
  readonly listensItself: boolean;
  /** Its server connection listens, or may. */
  readonly connectionListens: boolean;
  ownChannels(then: (channels: readonly string[]) => void): void;
};

const NO_STEPS: readonly ListenStep[] = [];

/** What listening adds to the running of a session's requests; costs nothing until the session listens. */
export class SessionListening implements ListenStatementsHost {
  readonly #host: SessionListeningHost;
  readonly #services: Services;
  #subscriptions: Subscriptions | null = null;
  /** A function made the server connection listen. */
  #apart = false;

  constructor(host: SessionListeningHost, services: Services) {
    this.#host = host;
    this.#services = services;
  }

  get shared(): boolean {
    return !this.#host.listensItself && !this.#host.connectionListens;
  }

  get listens(): boolean {
    return this.#subscriptions?.active === true;
  }

  ownChannels(then: (channels: readonly string[]) => void): void {
    this.#host.ownChannels(then);
  }

  subscriptions(): Subscriptions {
    this.#subscriptions ??= new Subscriptions(this.#host, this.#services);
    return this.#subscriptions;
  }

  /** Calls `then` when the request may run: at once, unless it listens or may commit a LISTEN. What it will listen on is heard before. */
  beforeRun(work: Work, transaction: Transaction, then: (error: FairleadError | null) => void): void {
    const listens = transaction === 'failed' || this.#host.listensItself ? [] : channelsOf(work.verdicts);
    const commits = work.verdicts.some((verdict) => verdict.class === 'end' || verdict.class === 'unknown');
    if (listens.length === 0 && (this.#subscriptions === null || !commits)) then(null);
    else this.subscriptions().ahead(listens, commits, then);
  }

  /**
   * What others notified on the connection must have arrived before this session uses it: a notification is told apart only by the
   * server process that sent it.
   */
  beforeUse({ connection, readOnly }: Link, then: () => void): void {
    const listening = this.#subscriptions;
    const { lastClientPid: previous } = connection;
    const mine = this.#host.clientPid;
    const use = () => {
      connection.lastClientPid = mine;
      then();
    };
    const foreign = previous !== null && previous !== mine;
    if (listening?.active !== true || readOnly || !foreign || connection.idleSinceMs < listening.drainedMs) use();
    else listening.settle(use);
  }

  /**
   * A notification from the session's own server connection, where that listens.
   * @returns the message for the client; null for one that it gets through the shared connection
   */
  own(link: Link, buffer: Buffer, start: number, end: number): Buffer | null {
    const { channel } = readNotification(buffer, start, end);
    if (this.#subscriptions?.has(channel) === true) return null;
    return this.#services.notifications.translate(link.node.name, buffer, start, end);
  }

  /** @returns true when the server connection listens on nothing that is not heard here */
  answered(running: readonly Verdict[], succeeded: boolean, before: Transaction, now: Transaction): boolean {
    let steps = NO_STEPS;
    for (const verdict of running) {
      const { listenSteps } = verdict;
      const some = listenSteps ?? NO_STEPS;
      if (some.length > 0) steps = steps.length === 0 ? some : [...steps, ...some];
      // a function's doing: nobody knows on what
      if (pinsFor(verdict, 'listen') && !some.some((step) => step.kind === 'listen')) this.#apart = true;
    }
    const listening = this.#subscriptions;
    if (listening === null && !steps.some((step) => step.kind === 'savepoint')) return false;
    this.subscriptions().answered(steps, succeeded, running.length > 1, before, now);
    if (!this.#host.connectionListens) this.#apart = false;
    return now === 'none' && this.#host.connectionListens && !this.#apart && !this.#host.listensItself;
  }

  /** Before the ReadyForQuery of a request outside of transactions. */
  settle(then: () => void): void {
    const listening = this.#subscriptions;
    if (listening === null) return then();
    listening.settle(() => {
      listening.flush();
      then();
    });
  }

  /** The session rests. */
  flush(): void {
    if (this.#subscriptions !== null && this.#host.quiet) this.#subscriptions.flush();
  }

  /** The request was cancelled that waits here. */
  abandon(): void {
    this.#subscriptions?.abandon();
  }

  end(): void {
    this.#subscriptions?.end();
  }
}

/** What the statements listen on by their own words. */
function channelsOf(verdicts: readonly Verdict[]): readonly string[] {
  const channels: string[] = [];
  for (const { listenSteps } of verdicts) {
    for (const step of listenSteps ?? NO_STEPS) if (step.kind === 'listen') channels.push(step.name);
  }
  return channels;
}
