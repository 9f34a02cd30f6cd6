import { FairleadError } from '../core/errors.ts';
import type { Work } from './work.ts';

/** True when the request does nothing but open a transaction block. Texts and pipelines that end theirs again are fine in pool mode statement. */
export function opensBlock({ verdicts }: Work): boolean {
  const verdict = verdicts[0];
  return verdicts.length === 1 && verdict !== undefined && verdict.class === 'begin' && verdict.statements === 1;
}

/** In PgBouncer's words. */
export function transactionBlockRefused(): FairleadError {
  return new FairleadError('transaction_block', 'transaction blocks not allowed in statement pooling mode');
}
