import type { Exchange } from '../backend/exchange.ts';
import type { LinkHolder } from '../backend/link-holder.ts';
import { FairleadError } from '../core/errors.ts';
import { CLIENT, STATUS } from '../wire/message-type.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
  readyForQuery,
} from '../wire/writer.ts';
import { CommitAttempt } from './commit-attempt.ts';
import type { ExecutionHost } from './execution-host.ts';
import { HiddenQuery } from './hidden-query.ts';
import type { Link } from './link.ts';
import type { FinalLoss } from './loss.ts';
import { OutcomeSearch } from './outcome-search.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import { LIFE_SQL, mayAsk, seenIn } from './server-life.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import type { SessionMemory } from './session-memory.ts';
import type { Work } from './work.ts';

const COMMIT = /^\s*(commit|end)(\s+(work|transaction))?\s*;?\s*$/i;

type Owner = LinkHolder & {
  readonly work: Work | null;
  resolved(exchange: Exchange, link: Link | null, loss: FinalLoss | null): void;
};

/**
 * `failover.outcomes: resolve`: what became of a COMMIT whose server connection broke. Of COMMIT alone, of a transaction that has an id by
 * then, and of sessions whose state does not depend on the connection.
 */
export class CommitOutcome {
  readonly #client: Client;
  readonly #services: Services;
  readonly #owner: Owner;
  readonly #host: Pick<ExecutionHost, 'relay'>;
  #search: OutcomeSearch | null = null;
  /** Gives the search up, with an answer to the client. */
  #giveUp: (() => void) | null = null;

  constructor(client: Client, services: Services, owner: Owner, host: Pick<ExecutionHost, 'relay'>) {
    this.#client = client;
    this.#services = services;
    this.#owner = owner;
    this.#host = host;
  }

  /** Ahead of the first use of a connection it is asked which life of its server that is. */
  meets({ connection, node, readOnly }: Link): void {
    if (connection.incarnation !== undefined || readOnly || connection.cancelling || !this.#resolves) return;
    connection.incarnation = null;
    const { incarnations } = this.#services.cluster;
    HiddenQuery.run(connection, LIFE_SQL, (rows) => {
      const seen = rows[0] === undefined ? null : seenIn(node.name, rows[0]);
      if (seen !== null && mayAsk(rows[0] as (string | null)[])) connection.incarnation = incarnations.note(seen);
    });
  }

  /** Ahead of a COMMIT. */
  ask({ connection, readOnly }: Link, work: Work, exchange: Exchange, memory: SessionMemory): void {
    const life = connection.incarnation ?? null;
    if (life === null || readOnly || !this.#resolves || exchange.open || exchange.refusable !== null) return;
    if (onlyStatement(work)?.class !== 'end' || !runs(work) || !work.synced || !COMMIT.test(textOf(work))) return;
    if (memory.pinned === null && !memory.settingsChanged) new CommitAttempt(connection, life, exchange);
  }

  /** The connection broke. @returns false when nothing can be found out; else the owner is told what was */
  search(exchange: Exchange, error: FairleadError): boolean {
    const { owner } = exchange;
    if (!(owner instanceof CommitAttempt) || owner.xid === null || error.code !== 'outcome_unknown') return false;
    const unknown = (why: string) => ({
      kind: 'error' as const,
      transaction: 'none' as const,
      error: new FairleadError('outcome_unknown', `${error.message}; ${why}`),
    });
    this.#giveUp = () => {
      this.abort();
      this.#owner.resolved(exchange, null, unknown('the client did not wait for it to be found out'));
    };
    this.#search = new OutcomeSearch(this.#client, this.#services, owner, (outcome, link, why) => {
      this.#giveUp = null;
      this.#search = null;
      if (outcome === 'unknown') return this.#owner.resolved(exchange, null, unknown(why));
      if (link === null) {
        const text = `the transaction was lost: it was not committed when ${error.message.replace(/^.*? when /, '')}`;
        const lost = new FairleadError('transaction_lost', text);
        return this.#owner.resolved(exchange, null, { kind: 'error', transaction: 'none', error: lost });
      }
      link.connection.holder = this.#owner;
      const ready = exchange.swallowReady ? [] : [readyForQuery(STATUS.IDLE)];
      this.#host.relay(Buffer.concat([...owner.notices, ...committed(this.#owner.work as Work), ...ready]));
      this.#owner.resolved(exchange, link, null);
    });
    return true;
  }

  /** @returns true when it was under way, and the client has been told that it is not known */
  giveUp(): boolean {
    const giveUp = this.#giveUp;
    giveUp?.();
    return giveUp !== null;
  }

  abort(): void {
    this.#giveUp = null;
    this.#search?.abort();
    this.#search = null;
  }

  get #resolves(): boolean {
    return this.#services.config().failover.outcomes === 'resolve';
  }
}

/** What a server answers to it, without ReadyForQuery. */
function committed({ batch }: Work): Buffer[] {
  const done = commandComplete('COMMIT');
  if (batch === null) return [done];
  return batch.items().flatMap(({ type, name }) => {
    if (type === CLIENT.PARSE) return [PARSE_COMPLETE];
    if (type === CLIENT.BIND) return [BIND_COMPLETE];
    if (type === CLIENT.CLOSE) return [CLOSE_COMPLETE];
    if (type === CLIENT.EXECUTE) return [done];
    return type !== CLIENT.DESCRIBE ? [] : name === null ? [NO_DATA] : [NO_PARAMETERS, NO_DATA];
  });
}
