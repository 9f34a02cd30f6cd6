import { FairleadError } from '../core/errors.ts';

/** A statement ended by a cancel request before a server had it. In PostgreSQL's words. */
export function cancelled(): FairleadError {
  return new FairleadError('cancelled', 'canceling statement due to user request');
}
