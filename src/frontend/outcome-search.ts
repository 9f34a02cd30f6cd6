import type { LinkHolder } from '../backend/link-holder.ts';
import { type Said, type TransactionOutcome, transactionOutcome } from '../cluster/transaction-outcome.ts';
import { nowMs } from '../core/clock.ts';
import type { Expiring } from '../core/deadlines.ts';
import type { FairleadError } from '../core/errors.ts';
import type { CommitAttempt } from './commit-attempt.ts';
import { Link } from './link.ts';
import { type Placed, Placement, type PlacementClient } from './placement.ts';
import { commitsWait, FOLLOWERS_HAVE_IT, saidIn, seenIn, statusSql } from './server-life.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';

/** Between two questions. */
const AGAIN_MS = 50;

/** Called once. The link is to the primary that knew; null with an outcome that is not `committed`. */
export type Found = (outcome: Exclude<TransactionOutcome, 'in progress'>, link: Link | null, why: string) => void;

/** Asks whoever is primary, or will be within `failover.hold`, what became of a transaction. */
export class OutcomeSearch implements PlacementClient, LinkHolder, Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly clientPid = null;
  readonly #client: Client;
  readonly #services: Services;
  readonly #attempt: CommitAttempt;
  readonly #found: Found;
  readonly #placement: Placement;
  readonly #untilMs: number;
  #link: Link | null = null;
  #over = false;

  constructor(client: Client, services: Services, attempt: CommitAttempt, found: Found) {
    this.#client = client;
    this.#services = services;
    this.#attempt = attempt;
    this.#found = found;
    this.#placement = new Placement(services, this);
    this.#untilMs = nowMs() + services.config().failover.hold;
    this.#seek();
  }

  /** Nobody wants to know any more. */
  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#services.deadlines.clear(this);
    this.#placement.abort();
    this.#link?.drop('nobody waits for the answer');
    this.#link = null;
  }

  expire(): void {
    if (nowMs() >= this.#untilMs) return this.#give('unknown', 'no primary could tell in time');
    this.#seek();
  }

  placed(where: Placed): void {
    if (this.#over) return;
    const link = new Link(where, this);
    this.#link = link;
    link.ask(statusSql(this.#attempt.xid as bigint), (rows, error) => {
      if (this.#link !== link) return;
      const row = rows[0];
      const seen = error === null && row !== undefined ? seenIn(link.node.name, row) : null;
      if (row === undefined || seen === null) return this.#later(link, error);
      const { incarnations, assignment } = this.#services.cluster;
      const said: Said = { by: incarnations.note(seen), status: saidIn(row) };
      link.connection.incarnation ??= said.by;
      const { xid, life } = this.#attempt;
      const outcome = transactionOutcome(xid as bigint, life, said, assignment.value.forks, incarnations);
      if (outcome === 'in progress') return this.#later(link, null);
      if (outcome === 'committed' && commitsWait(row)) return this.#confirm(link);
      this.#give(outcome, `${link.node.name} cannot tell for certain`);
    });
  }

  unplaceable(error: FairleadError): void {
    this.#give('unknown', error.message);
  }

  async(): void {}

  closed(): void {}

  /** What is told to a client as committed has to be where acknowledged commits are. */
  #confirm(link: Link): void {
    link.ask(FOLLOWERS_HAVE_IT, (_rows, error) => {
      if (this.#link !== link) return;
      if (error === null) this.#give('committed', '');
      else this.#later(link, error);
    });
  }

  /** Under another session's settings it may fail for reasons of its own. */
  #later(link: Link, error: FairleadError | null): void {
    this.#link = null;
    if (error !== null) link.drop('it does not answer');
    else link.release();
    this.#services.deadlines.set(this, Math.min(this.#untilMs, nowMs() + AGAIN_MS));
  }

  #seek(): void {
    this.#services.deadlines.set(this, this.#untilMs);
    this.#placement.seek({
      database: this.#client.database,
      identity: this.#client.identity,
      read: null,
      reason: 'transaction',
      readOnly: false,
      rider: null,
      avoid: null,
    });
  }

  #give(outcome: Exclude<TransactionOutcome, 'in progress'>, why: string): void {
    if (this.#over) return;
    const link = this.#link;
    this.#link = null;
    const late = outcome === 'unknown' && nowMs() >= this.#untilMs;
    if (outcome !== 'committed') {
      if (late) link?.drop('the answer did not come in time');
      else link?.release();
    }
    this.abort();
    this.#found(outcome, outcome === 'committed' ? link : null, why);
  }
}
