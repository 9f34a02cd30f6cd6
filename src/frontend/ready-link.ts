import type { SettingsSet } from '../backend/settings-set.ts';
import { FairleadError } from '../core/errors.ts';
import { parseLsn } from '../core/lsn.ts';
import type { SessionStatement } from './batch.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';
import type { MovableStart } from './movable-start.ts';
import type { SequenceUse } from './sequence-use.ts';
import type { SessionMemory } from './session-memory.ts';
import { checkTypes, doubtfulTypes } from './types-check.ts';
import type { Variant } from './variant.ts';
import type { ReadAuditor, Work } from './work.ts';

/** What a server connection lacks for a request. */
export type LinkNeeds = {
  /** To apply; null where they are right. */
  readonly settings: SettingsSet | null;
  readonly memory: SessionMemory;
  /** Channels that are listened on elsewhere, and that the request asks for. */
  readonly listens: readonly string[];
  /** Whether the server has to forget the sequence values that others drew on the connection. */
  readonly forget: boolean;
  /** Of which it is not sure that they have the types that the client was told. */
  readonly doubtful: readonly SessionStatement[];
  readonly variant: Variant;
  readonly inTransaction: boolean;
  readonly work: Work;
  /** To be told where the replica is before the request runs. */
  readonly audit: ReadAuditor | null;
  /** Of a transaction that comes from a replica; null: it is where it was. */
  readonly start: MovableStart | null;
  /** Of a transaction that is to begin on a replica though it may write; null: none is, or the server allows it. */
  readonly split: MovableStart | null;
};

/** Null: the request may go out at once. Where a transaction has failed the server refuses it anyway. */
export function needsOf(
  link: Link,
  work: Work,
  transaction: Transaction,
  start: MovableStart,
  memory: SessionMemory,
  sequences: SequenceUse,
  variant: Variant,
): LinkNeeds | null {
  if (transaction === 'failed') return null;
  const inTransaction = transaction !== 'none' && !start.moving;
  const settings = inTransaction || link.connection.settings === memory.settings ? null : memory.settings;
  const open = !work.synced && !work.describeOnly;
  const forget = !link.readOnly && sequences.strange(work.verdicts, open, link.connection);
  const doubtful = doubtfulTypes(link.connection, work.batch, variant);
  const { listens } = work;
  const splits = !inTransaction && link.reason === 'split transaction' && !link.connection.readsCommitted;
  const split = splits ? start : null;
  const audit = link.readOnly && link.fresh && link.floor !== null ? (work.audit ?? null) : null;
  const begins = start.moving ? start : null;
  if (
    settings === null &&
    !forget &&
    doubtful.length === 0 &&
    listens.length === 0 &&
    begins === null &&
    audit === null &&
    split === null
  )
    return null;
  return { settings, memory, listens, forget, doubtful, variant, inTransaction, audit, start: begins, split, work };
}

/** Brings a server connection into the state that a request needs, and makes sure that its statements are what the client takes them for. */
export function readyLink(link: Link, needs: LinkNeeds, done: (error: FairleadError | null) => void): void {
  const then = link.node.role === 'subscriber' ? (error: FairleadError | null) => done(ofSubscriber(error)) : done;
  const { settings, forget, doubtful, variant, inTransaction, audit, start, split, work } = needs;
  const begin = (error: FairleadError | null) => {
    if (error !== null) then(error);
    else if (start !== null) start.begin(link, then);
    else if (split !== null) split.check(link, work, then);
    else if (audit !== null) askPosition(link, audit, then);
    else then(null);
  };
  const check = () =>
    checkTypes(link, doubtful, variant, inTransaction, (error) => {
      if (error === null) listenMeanwhile(link, needs, begin);
      else then(error);
    });
  if (settings === null && !forget) return check();
  link.prepare(settings, forget, (error) => {
    if (error === null) return check();
    if (error.code === 'connection_lost') return then(error);
    then(new FairleadError('bad_parameter', `the session's settings could not be applied: ${error.message}`));
  });
}

/** A server with roles and extensions of its own cannot be brought into every state: the request runs elsewhere. */
function ofSubscriber(error: FairleadError | null): FairleadError | null {
  return error === null ? null : new FairleadError('connection_lost', error.message);
}

function askPosition(link: Link, audit: ReadAuditor, then: (error: FairleadError | null) => void): void {
  // null on a subscriber, whose reads are not audited: what its server tells in a session is no proof
  link.ask('SELECT pg_catalog.pg_last_wal_replay_lsn()', (rows, error) => {
    const replayed = rows[0]?.[0] ?? null;
    if (replayed !== null && link.floor !== null) audit(link.node.name, parseLsn(replayed), link.floor);
    // a session's statement_timeout may have ended it: that is not the request's affair
    then(error?.code === 'connection_lost' ? error : null);
  });
}

/** So that a query finds what the session listens on; afterwards the connection is made to stop. */
function listenMeanwhile(
  link: Link,
  { listens, memory }: LinkNeeds,
  then: (error: FairleadError | null) => void,
): void {
  if (listens.length === 0) return then(null);
  memory.pin('listen');
  link.ask(listens.map((channel) => `LISTEN "${channel.replaceAll('"', '""')}"`).join('; '), (_rows, error) =>
    then(error),
  );
}
