import type { Exchange } from '../backend/exchange.ts';
import { FairleadError } from '../core/errors.ts';
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
import type { Summary, Work } from './work.ts';

/** What becomes of a session whose server connection died with its request under way. */
export type Loss =
  | { readonly kind: 'again' } // nothing can have happened, nothing was answered: run it elsewhere
  | { readonly kind: 'error'; readonly error: FairleadError; readonly transaction: 'none' | 'lost' }
  | { readonly kind: 'fatal'; readonly error: FairleadError } // state that lived in the connection is gone
  | { readonly kind: 'close' }; // the client stands in the middle of a message: nothing can be said any more

/** Decides by what was sent, what was answered and what the statement could have done. Pure. */
export function afterLoss(
  inTransaction: boolean,
  pinned: boolean,
  exchange: Exchange,
  summary: Summary,
  work: Work,
  error: FairleadError,
): Loss {
  if (exchange.midMessage) return { kind: 'close' };
  if (pinned) return { kind: 'fatal', error: new FairleadError('session_lost', error.message) };
  if (inTransaction) {
    if (summary.class === 'end' && exchange.sent) {
      return {
        kind: 'error',
        transaction: 'none',
        error: unknownOutcome(`COMMIT was under way when ${error.message}`),
      };
    }
    return {
      kind: 'error',
      transaction: 'lost',
      error: new FairleadError('transaction_lost', `the transaction was lost: ${error.message}`),
    };
  }
  const complete = work.synced || work.describeOnly;
  const harmless = summary.class === 'read' || summary.class === 'begin' || work.describeOnly || !exchange.sent;
  if (harmless && complete && !exchange.forwarded && work.kind !== 'stream' && attempts(work) < 5)
    return { kind: 'again' };
  if (harmless)
    return { kind: 'error', transaction: 'none', error: new FairleadError('connection_lost', error.message) };
  return {
    kind: 'error',
    transaction: 'none',
    error: unknownOutcome(`the statement was under way when ${error.message}`),
  };
}

function attempts(work: Work): number {
  return work.avoid?.size ?? 0;
}

function unknownOutcome(text: string): FairleadError {
  return new FairleadError('outcome_unknown', `the outcome is unknown: ${text}`);
}

/**
 * The transaction is gone with its server connection, but the client has not ended it: as PostgreSQL does, everything is refused until it
 * does. The first answer says what happened.
 * @param first the error to give instead of the usual one
 */
export function lostTransactionAnswer(
  work: Work,
  first: FairleadError | null,
): { readonly bytes: Buffer; readonly ends: boolean } {
  const ends = first === null && work.verdicts.some((verdict) => verdict.class === 'end');
  if (!ends) {
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
