import type { FairleadError } from '../core/errors.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import { summarize, type Work } from './work.ts';

/** Statements at the beginning of a transaction that are remembered. */
const MAX_TEXTS = 20;

/**
 * A READ ONLY transaction on a replica of which nothing but its beginning has run: BEGIN, SET TRANSACTION, SET LOCAL, SHOW. It has no
 * snapshot yet. What a replica would refuse, and PostgreSQL would not, moves it to the primary, where it is begun again with the same texts.
 */
export class ReadOnlyStart {
  /** What has run; null when that is more. */
  #texts: string[] | null = null;
  /** To be run on the primary first. */
  #moving: string | null = null;

  readonly #readOnlyPort: boolean;

  /** @param readOnlyPort the client came in by it: it is to be told what a standby says */
  constructor(readOnlyPort: boolean) {
    this.#readOnlyPort = readOnlyPort;
  }

  /** A request was answered. */
  note(work: Work, link: Link, before: Transaction, now: Transaction, succeeded: boolean): void {
    if (now !== 'open' || !succeeded || !link.readOnly || this.#readOnlyPort) this.#texts = null;
    else if (!runs(work)) return;
    else if (before === 'none') this.#texts = isPlain(work, 'begin') ? [textOf(work)] : null;
    else if (this.#texts !== null && !isShow(work)) {
      if (isPlain(work, 'session-state') && this.#texts.length < MAX_TEXTS) this.#texts.push(textOf(work));
      else this.#texts = null;
    }
  }

  /** True when the request has to run on the primary, and the transaction can. */
  concerns(work: Work, transaction: Transaction): boolean {
    if (this.#texts === null || transaction !== 'open') return false;
    const summary = summarize(work.verdicts);
    const [verdict] = work.verdicts;
    if (verdict === undefined || summary.read || summary.class === 'end' || summary.class === 'begin') return false;
    if (work.verdicts.length > 1 || summary.class !== 'session-state') return true;
    return verdict.pin !== null || verdict.readOnly === false;
  }

  /** The transaction goes from there; `begin` follows on the primary, or `abandon`. @returns the link that the session has now */
  leave(link: Link, work: Work): null {
    work.forced = 'transaction';
    this.#moving = (this.#texts ?? []).join(';\n');
    this.#texts = null;
    link.ask('ROLLBACK', (_rows, error) => {
      if (error !== null) link.connection.tainted = true;
      if (!link.connection.closed) link.release();
    });
    return null;
  }

  get moving(): boolean {
    return this.#moving !== null;
  }

  begin(link: Link, then: (error: FairleadError | null) => void): void {
    link.ask(this.#moving ?? '', (_rows, error) => {
      if (error === null) this.#moving = null;
      then(error);
    });
  }

  /** @returns true when it was on its way, and is lost */
  abandon(): boolean {
    const { moving } = this;
    this.#moving = null;
    return moving;
  }
}

/** One statement of that class, without parameters. */
function isPlain(work: Work, wanted: 'begin' | 'session-state'): boolean {
  const verdict = onlyStatement(work);
  if (verdict === null || verdict.class !== wanted || !runs(work) || !work.synced) return false;
  return verdict.statementUses === undefined;
}

function isShow(work: Work): boolean {
  return onlyStatement(work)?.reason.startsWith('shows ') === true;
}
