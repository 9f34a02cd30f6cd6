import { FairleadError } from '../core/errors.ts';
import type { Lsn } from '../core/lsn.ts';
import { CLIENT } from '../wire/message-type.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import { summarize, type Work } from './work.ts';

/** Statements at the beginning of a transaction that are remembered. */
const MAX_TEXTS = 20;

const READ_COMMITTED = 'read committed';

const DEFAULT_ISOLATION_SQL =
  "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_isolation'";

/** What keeps a transaction from beginning on a replica, apart from what it says itself. */
export type StartHost = {
  /** `routing.transactions: split`, and nothing of the session stands against it. */
  readonly maySplit: boolean;
  /** What a transaction sees that has seen everything up to there is still enough for the session, as it is now. */
  seesEnough(floor: Lsn | null): boolean;
  /** The server gives transactions of this user another isolation level. */
  cannotSplit(): void;
};

/**
 * A transaction on a replica that can still move to the primary, where it is begun again with the same texts. One that is READ ONLY can while nothing but its
 * beginning has run: BEGIN, SET TRANSACTION, SET LOCAL, SHOW; it has no snapshot yet, and what a replica would refuse, and PostgreSQL would not, moves it. One that is
 * split (`routing.transactions`) can at any time: at READ COMMITTED each statement has a snapshot of its own, and it only runs there what leaves nothing behind and does not
 * tell when the transaction began.
 */
export class MovableStart {
  /** What has run; null when that is more. */
  #texts: string[] | null = null;
  /** To be run on the primary first. */
  #moving: string | null = null;
  #split = false;
  /** How the split transaction began. */
  #begun: string | null = null;
  /** What it must see, and does. */
  #floor: Lsn | null = null;

  readonly #readOnlyPort: boolean;
  readonly #host: StartHost;

  /** @param readOnlyPort the client came in by it: it is to be told what a standby says */
  constructor(readOnlyPort: boolean, host: StartHost) {
    this.#readOnlyPort = readOnlyPort;
    this.#host = host;
  }

  /** True when the request begins a transaction that is to begin on a replica though it may write. */
  splits(work: Work): boolean {
    const [verdict] = work.verdicts;
    if (
      verdict?.class !== 'begin' ||
      (verdict.hint?.target ?? null) !== null ||
      work.forced !== null ||
      !isPlain(work, 'begin') ||
      !this.#host.maySplit
    )
      return false;
    return verdict.readOnly === null && (verdict.isolation ?? READ_COMMITTED) === READ_COMMITTED;
  }

  /** True while a split transaction has only read. */
  get split(): boolean {
    return this.#split && this.#texts !== null;
  }

  /** A split transaction is about to begin on a server connection. `then` is told of an error when it cannot begin there. */
  check(link: Link, work: Work, then: (error: FairleadError | null) => void): void {
    // not what a session has set: that is known, and goes with it
    link.ask(DEFAULT_ISOLATION_SQL, (rows, error) => {
      if (error !== null) return then(error);
      link.connection.readsCommitted = rows[0]?.[0] === READ_COMMITTED;
      if (link.connection.readsCommitted) return then(null);
      this.#host.cannotSplit();
      // somewhere else, then: nothing has run yet
      work.forced = 'transaction';
      then(new FairleadError('connection_lost', 'transactions are not READ COMMITTED here'));
    });
  }

  /** A request was answered. */
  note(work: Work, link: Link, before: Transaction, now: Transaction, succeeded: boolean): void {
    if (now !== 'open' || !succeeded || !link.readOnly || this.#readOnlyPort) this.#texts = null;
    else if (!runs(work)) return;
    // AND CHAIN: another one like it
    else if (before === 'failed' && this.#begun !== null) this.#texts = [this.#begun];
    else if (before === 'none') {
      this.#texts = isPlain(work, 'begin') ? [textOf(work)] : null;
      this.#split = link.reason === 'split transaction';
      this.#floor = link.floor;
      this.#begun = this.#split ? (this.#texts?.[0] ?? null) : null;
    } else if (this.#texts !== null && !isShow(work)) {
      if (isPlain(work, 'session-state') && this.#texts.length < MAX_TEXTS) this.#texts.push(textOf(work));
      else if (!this.#split || !isMovableRead(work)) this.#texts = null;
    }
  }

  /** True when the request has to run on the primary, and the transaction can. */
  concerns(work: Work, transaction: Transaction): boolean {
    if (this.#texts === null || transaction !== 'open') return false;
    const summary = summarize(work.verdicts);
    const [verdict] = work.verdicts;
    if (this.#split) return !this.#staysSplit(work);
    if (verdict === undefined || summary.read || summary.class === 'end' || summary.class === 'begin') return false;
    if (work.verdicts.length > 1 || summary.class !== 'session-state') return true;
    return verdict.pin !== null || verdict.readOnly === false;
  }

  /** True when a split transaction can run it where it is, and move afterwards. */
  #staysSplit(work: Work): boolean {
    if (isPlainEnd(work) || (work.verdicts.length === 0 && !runs(work))) return true;
    if (isMovableRead(work)) return this.#host.seesEnough(this.#floor);
    const verdict = onlyStatement(work);
    if (verdict === null || !isPlain(work, 'session-state') || (this.#texts?.length ?? 0) >= MAX_TEXTS) return false;
    // SET and SET LOCAL; not what the transaction is, not savepoints or cursors
    const sets = verdict.reason.startsWith('sets ') && verdict.isolation === null && verdict.readOnly === null;
    return sets && verdict.pin === null && verdict.command === null;
  }

  /** The transaction goes from there; `begin` follows on the primary, or `abandon`. @returns the link that the session has now */
  leave(link: Link, work: Work): null {
    work.forced = 'transaction';
    this.#moving = (this.#texts ?? []).join('\n;\n');
    this.#texts = null;
    // if it breaks on its way, that is nobody's affair any more
    link.connection.holder = null;
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

  /** No transaction is open any more, or it is lost. */
  end(): void {
    this.#texts = null;
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
  // its text is sent again, in the encoding of the server
  return verdict.statementUses === undefined && ASCII.test(textOf(work));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/;

const COMMENT = /\/\*.*?\*\/|--[^\n]*/gs;

function isShow(work: Work): boolean {
  return onlyStatement(work)?.reason.startsWith('shows ') === true;
}

/** COMMIT or ROLLBACK, and no new transaction behind it. */
function isPlainEnd(work: Work): boolean {
  const verdict = onlyStatement(work);
  return (
    verdict?.class === 'end' &&
    work.synced &&
    /^\s*(commit|rollback|end|abort)(\s+(work|transaction))?\s*;?\s*$/i.test(textOf(work).replace(COMMENT, ' '))
  );
}

/** Reads of which nothing is left when they are answered, and that tell nothing that would differ after a move. */
function isMovableRead(work: Work): boolean {
  const { read, hint, tables } = summarize(work.verdicts);
  if (
    !read ||
    hint === 'primary' ||
    tables === null ||
    tables.tellsTime ||
    !work.synced ||
    work.kind === 'stream' ||
    work.use !== null
  )
    return false;
  const { batch } = work;
  if (batch === null) return true;
  // portals stay until the transaction ends: none may be left that could be asked for again
  return (
    batch.runsWhatItBinds &&
    batch.items().every(({ type, raw, use, wholeLength }) => {
      if (use !== null || wholeLength !== null) return false;
      if (type === CLIENT.BIND) return raw[5] === 0;
      return type !== CLIENT.EXECUTE || isWhole(raw);
    })
  );
}

/** Execute of the unnamed portal, without a row limit. */
function isWhole(raw: Buffer): boolean {
  return raw[5] === 0 && raw.readInt32BE(raw.length - 4) === 0;
}
