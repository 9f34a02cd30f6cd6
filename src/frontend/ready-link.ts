import type { SettingsSet } from '../backend/settings-set.ts';
import { FairleadError } from '../core/errors.ts';
import type { SessionStatement, Variant } from './batch.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import type { SequenceUse } from './sequence-use.ts';
import { checkTypes, doubtfulTypes } from './types-check.ts';
import type { Work } from './work.ts';

/** What a server connection lacks for a request. */
export type LinkNeeds = {
  /** To apply; null where they are right. */
  readonly settings: SettingsSet | null;
  /** Whether the server has to forget the sequence values that others drew on the connection. */
  readonly forget: boolean;
  /** Of which it is not sure that they have the types that the client was told. */
  readonly doubtful: readonly SessionStatement[];
  readonly variant: Variant;
  readonly inTransaction: boolean;
};

/** Null: the request may go out at once. Where a transaction has failed the server refuses it anyway. */
export function needsOf(
  link: Link,
  work: Work,
  transaction: Transaction,
  wanted: SettingsSet,
  sequences: SequenceUse,
  variant: Variant,
): LinkNeeds | null {
  if (transaction === 'failed') return null;
  const inTransaction = transaction !== 'none';
  const settings = inTransaction || link.connection.settings === wanted ? null : wanted;
  const forget = !link.readOnly && sequences.strange(work.verdicts, link.connection);
  const doubtful = doubtfulTypes(link.connection, work.batch, variant);
  if (settings === null && !forget && doubtful.length === 0) return null;
  return { settings, forget, doubtful, variant, inTransaction };
}

/** Brings a server connection into the state that a request needs, and makes sure that its statements are what the client takes them for. */
export function readyLink(link: Link, needs: LinkNeeds, then: (error: FairleadError | null) => void): void {
  const { settings, forget, doubtful, variant, inTransaction } = needs;
  const check = () => checkTypes(link, doubtful, variant, inTransaction, then);
  if (settings === null && !forget) return check();
  link.prepare(settings, forget, (error) => {
    if (error === null) return check();
    if (error.code === 'connection_lost') return then(error);
    then(new FairleadError('bad_parameter', `the session's settings could not be applied: ${error.message}`));
  });
}
