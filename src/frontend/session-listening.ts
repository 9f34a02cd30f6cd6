import { readNotification } from '../backend/notification.ts';
import type { FairleadError } from '../core/errors.ts';
import type { ListenStep, Verdict } from '../sql/verdict.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import type { ListenStatementsHost } from './listen-statements.ts';
import type { Services } from './services.ts';
import { Subscriptions, type SubscriptionsHost } from './subscriptions.ts';
import type { Work } from './work.ts';

/** The session as far as listening goes. */
export type SessionListeningHost = SubscriptionsHost & {
  readonly clientPid: number;
  /** Its server connection listens, or has to: see `ListenStatementsHost.shared`. */
  readonly listensItself: boolean;
};

const NO_STEPS: readonly ListenStep[] = [];

/** What listening adds to the running of a session's requests; costs nothing until the session listens. */
export class SessionListening implements ListenStatementsHost {
  readonly #host: SessionListeningHost;
  readonly #services: Services;
  #subscriptions: Subscriptions | null = null;

  constructor(host: SessionListeningHost, services: Services) {
    this.#host = host;
    this.#services = services;
  }

  get shared(): boolean {
    return !this.#host.listensItself;
  }

  get listens(): boolean {
    return this.#subscriptions?.active === true;
  }

  subscriptions(): Subscriptions {
    this.#subscriptions ??= new Subscriptions(this.#host, this.#services);
    return this.#subscriptions;
  }

  /** Calls `then` when the request may run: at once, unless it may commit a LISTEN. */
  beforeRun(work: Work, then: (error: FairleadError | null) => void): void {
    const commits = work.verdicts.some((verdict) => verdict.class === 'end' || verdict.class === 'unknown');
    if (this.#subscriptions === null || !commits) then(null);
    else this.#subscriptions.beforeCommit(then);
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

  answered(running: readonly Verdict[], succeeded: boolean, before: Transaction, now: Transaction): void {
    let steps = NO_STEPS;
    for (const { listenSteps } of running) {
      if (listenSteps !== undefined && listenSteps.length > 0)
        steps = steps.length === 0 ? listenSteps : [...steps, ...listenSteps];
    }
    if (this.#subscriptions === null && !steps.some((step) => step.kind === 'savepoint')) return;
    this.subscriptions().answered(steps, succeeded, running.length > 1, before, now);
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

  flush(): void {
    this.#subscriptions?.flush();
  }

  /** The request was cancelled that waits here. */
  abandon(): void {
    this.#subscriptions?.abandon();
  }

  end(): void {
    this.#subscriptions?.end();
  }
}
