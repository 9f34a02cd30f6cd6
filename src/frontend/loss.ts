import type { Exchange } from '../backend/exchange.ts';
import { FairleadError } from '../core/errors.ts';
import type { PinReason, Verdict } from '../sql/verdict.ts';
import type { ErrorFields } from '../wire/fields.ts';
import { CLIENT } from '../wire/message-type.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  errorResponse,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
} from '../wire/writer.ts';
import type { Work } from './work.ts';

/** Server connections that may die one after the other before a request was even sent. */
const MAX_UNSENT_LOSSES = 5;

/** What becomes of a session whose server connection died with its request under way. */
export type Loss =
  | { readonly kind: 'again' } // nothing can have happened, nothing was answered: run it elsewhere
  | { readonly kind: 'error'; readonly error: FairleadError; readonly transaction: 'none' | 'lost' }
  | { readonly kind: 'fatal'; readonly error: FairleadError } // state that lived in the connection is gone
  | { readonly kind: 'close' }; // the client stands in the middle of a message: nothing can be said any more

export type FinalLoss = Exclude<Loss, { kind: 'again' }>;

/** Decides by what was sent, what was answered and what the statement could have done. Pure. */
export function afterLoss(
  inTransaction: boolean,
  pinned: boolean,
  exchange: Exchange,
  verdicts: readonly Verdict[],
  work: Work,
  error: FairleadError,
): Loss {
  if (exchange.midMessage) return { kind: 'close' };
  const mayCommit = exchange.sent && (verdicts.some(mayEndTransaction) || work.kind === 'stream');
  const read = verdicts.length > 0 && verdicts.every((verdict) => verdict.class === 'read');
  const changesNothing = read || (verdicts.length > 0 && verdicts.every(({ mayWrite }) => mayWrite === false));
  if (verdicts.some(endsItself) && (error.cause as ErrorFields | undefined)?.sqlState === '57P01')
    return { kind: 'fatal', error: endOfSession(error, 'the session ended itself') };
  if (pinned) {
    const known = inTransaction ? !mayCommit : changesNothing || !exchange.sent;
    const why = 'state of the session was lost with the server connection';
    return { kind: 'fatal', error: known ? endOfSession(error, why) : unknownOutcome(`${error.message}; ${why}`) };
  }
  if (inTransaction) {
    if (mayCommit) {
      return {
        kind: 'error',
        transaction: 'none',
        error: unknownOutcome(`COMMIT was under way when ${error.message}`),
      };
    }
    // after a COMMIT that failed nobody has to send ROLLBACK, sent or not
    const ends = verdicts[0]?.class === 'end';
    return { kind: 'error', transaction: ends ? 'none' : 'lost', error: lostTransaction(error) };
  }
  const complete = work.synced || work.describeOnly;
  const begins = verdicts.length === 1 && verdicts[0]?.class === 'begin';
  const harmless = read || begins || work.describeOnly || !exchange.sent;
  // what was sent is tried once more, no oftener: a statement that kills its server must not visit them all
  const again = harmless && complete && !exchange.forwarded && work.kind !== 'stream';
  if (again && work.losses < (exchange.sent ? 1 : MAX_UNSENT_LOSSES)) return { kind: 'again' };
  if (harmless)
    return { kind: 'error', transaction: 'none', error: new FairleadError('connection_lost', error.message) };
  return {
    kind: 'error',
    transaction: 'none',
    error: unknownOutcome(`the statement was under way when ${error.message}`),
  };
}

/** The end of a session whose state is gone, in the server's own words where it gave some. */
export function endOfSession(lost: FairleadError, why: string): FairleadError {
  const said = lost.cause as ErrorFields | undefined;
  return said === undefined
    ? new FairleadError('session_lost', `${lost.message}; ${why}`)
    : new SaidByServer(said, `reconnect: ${why}`);
}

/** The session kept its server connection, and cannot go on without it. */
export function endOfPinned(lost: FairleadError, pinned: PinReason): FairleadError {
  return endOfSession(lost, `the session kept its server connection for: ${pinned}`);
}

export class SaidByServer extends FairleadError {
  readonly serverState: string;

  constructor({ sqlState, message }: ErrorFields, why: string) {
    super('session_lost', message, why);
    this.serverState = sqlState;
  }
}

export function lostTransaction(error: FairleadError): FairleadError {
  return new FairleadError('transaction_lost', `the transaction was lost: ${error.message}`);
}

/** `SELECT pg_terminate_backend(pg_backend_pid())`: how programs test what they do when a connection breaks. */
function endsItself({ functions, pin }: Verdict): boolean {
  return pin === 'pg_backend_pid' && functions.some(({ name }) => name === 'pg_terminate_backend');
}

/** What is not understood may hold a COMMIT. */
function mayEndTransaction(verdict: Verdict): boolean {
  return verdict.class === 'end' || verdict.class === 'unknown';
}

function unknownOutcome(text: string): FairleadError {
  return new FairleadError('outcome_unknown', `the outcome is unknown: ${text}`);
}

/**
 * The transaction is gone with its server connection, but the client has not ended it: as PostgreSQL does, everything is refused until it
 * does. The first answer says what happened, except to a ROLLBACK, which wanted nothing else. A COMMIT ends the transaction even when it
 * is told of the loss: after a failed COMMIT nobody has to send ROLLBACK.
 * @param first the error to give instead of the usual one
 */
export function lostTransactionAnswer(
  work: Work,
  first: FairleadError | null,
): { readonly bytes: Buffer; readonly ends: boolean } {
  // what comes behind a refused statement is skipped
  const end = work.verdicts[0]?.class === 'end' ? work.verdicts[0] : null;
  const ends = end !== null;
  if (end === null || (first !== null && end.mayWrite !== false)) {
    const error =
      first ??
      new FairleadError(
        'in_failed_transaction',
        'current transaction is aborted, commands ignored until end of transaction block',
      );
    return { bytes: errorResponse('ERROR', error.sqlState, error.message, error.remedy), ends };
  }
  const done = commandComplete('ROLLBACK');
  if (work.batch === null) return { bytes: done, ends };
  const out: Buffer[] = [];
  for (const item of work.batch.items()) {
    if (item.type === CLIENT.PARSE) out.push(PARSE_COMPLETE);
    else if (item.type === CLIENT.BIND) out.push(BIND_COMPLETE);
    else if (item.type === CLIENT.CLOSE) out.push(CLOSE_COMPLETE);
    else if (item.type === CLIENT.EXECUTE) out.push(done);
    else if (item.type === CLIENT.DESCRIBE) out.push(...(item.name === null ? [NO_DATA] : [NO_PARAMETERS, NO_DATA]));
  }
  return { bytes: Buffer.concat(out), ends };
}
