import { SHARED_PREFIX } from '../backend/prepared-statement.ts';
import type { PoolMode } from '../config/pool-settings.ts';
import { FairleadError } from '../core/errors.ts';
import type { Verdict } from '../sql/verdict.ts';
import { commandComplete, EMPTY_QUERY } from '../wire/writer.ts';
import { takeSignal } from './backend-signals.ts';
import type { Transaction } from './client-output.ts';
import type { ExtendedReader } from './extended-reader.ts';
import { takeListening } from './listen-statements.ts';
import { batchAnswer, localCommands, simpleAnswer } from './local-answer.ts';
import { LocalCommands } from './local-commands.ts';
import { lostTransactionAnswer } from './loss.ts';
import { answerAsStandby } from './read-only-port.ts';
import type { Services } from './services.ts';
import type { Session } from './session.ts';
import { opensBlock, transactionBlockRefused } from './statement-mode.ts';
import type { Work } from './work.ts';

/** What is answered without a server. Exactly one of the two is called, once, perhaps later: whoever cancelled meanwhile has had an answer. */
export type OwnAnswerHost = {
  /** The answer without ReadyForQuery. `ends`: the transaction that was lost has been ended by it. */
  answer(work: Work, bytes: Buffer, ends: boolean): void;
  fail(work: Work, error: FairleadError): void;
};

/** Requests that no server sees: commands for Fairlead, empty queries, whatever comes in a transaction that is gone. */
export class OwnAnswers {
  readonly #session: Session;
  readonly #services: Services;
  readonly #statements: ExtendedReader;
  /** What the next request in a lost transaction is told. */
  #loss: FairleadError | null = null;

  constructor(session: Session, services: Services, statements: ExtendedReader) {
    this.#session = session;
    this.#services = services;
    this.#statements = statements;
  }

  /** The transaction was lost while the client was silent. */
  remember(loss: FairleadError): void {
    this.#loss = loss;
  }

  /** @returns true when the request is dealt with here. */
  take(work: Work, transaction: Transaction, onReplica: boolean, mode: PoolMode): boolean {
    const session = this.#session;
    if (transaction === 'lost') {
      const { bytes, ends } = lostTransactionAnswer(work, this.#loss);
      this.#loss = null;
      if (!ends) this.#statements.abandoned(work);
      this.#session.answer(work, bytes, ends);
      return true;
    }
    if (work.kind === 'query' && work.verdicts[0]?.statements === 0) {
      this.#session.answer(work, EMPTY_QUERY, false);
      return true;
    }
    const commands = localCommands(work.verdicts);
    if (commands !== null) {
      const local = new LocalCommands(this.#session, this.#services);
      local.prepare(commands, (error) => {
        if (error === null) this.#run(local, work, transaction !== 'none');
        else this.#session.fail(work, error);
      });
      return true;
    }
    if (session.client.readOnly && transaction !== 'failed' && answerAsStandby(work, session)) return true;
    if (transaction !== 'failed' && takeSignal(work, session, this.#services)) return true;
    if (takeListening(work, transaction, session.listening, session)) return true;
    if (transaction !== 'failed' && deallocatesOnly(work)) {
      // servers know it under another name
      this.#session.answer(work, commandComplete('DEALLOCATE'), false);
      return true;
    }
    const refusal =
      mode === 'statement' && opensBlock(work)
        ? transactionBlockRefused()
        : refusalOf(work.verdicts, onReplica && transaction !== 'failed');
    if (refusal !== null) this.#session.fail(work, refusal);
    return refusal !== null;
  }

  #run(local: LocalCommands, work: Work, inTransaction: boolean): void {
    let bytes: Buffer;
    try {
      const run = (verdict: Verdict) => local.run(verdict, inTransaction);
      bytes =
        work.batch === null
          ? Buffer.concat(work.verdicts.map((verdict) => simpleAnswer(run(verdict))))
          : batchAnswer(work.batch, (verdict) => local.columns(verdict), run);
    } catch (error) {
      return this.#session.fail(work, error as FairleadError);
    }
    this.#session.answer(work, bytes, false);
  }
}

/** A query that is nothing but DEALLOCATE of a statement made by Parse. */
function deallocatesOnly({ batch, verdicts, use }: Work): boolean {
  const deallocation = use?.deallocation ?? null;
  return batch === null && verdicts[0]?.statements === 1 && deallocation !== null && !deallocation.all;
}

/** What no server may see, or not this one; null when there is nothing against it. */
function refusalOf(verdicts: readonly Verdict[], onReplica: boolean): FairleadError | null {
  for (const verdict of verdicts) {
    if (verdict.command !== null || verdict.settings.some((name) => name.startsWith('fairlead.'))) {
      const text = 'SET and SHOW fairlead.* cannot be sent together with other statements';
      return new FairleadError('unsupported', text, 'send it as a statement of its own');
    }
    if (verdict.statementUses?.some(({ name }) => name?.startsWith(SHARED_PREFIX)) === true) {
      return new FairleadError(
        'unsupported',
        `names that begin with ${SHARED_PREFIX} are reserved`,
        'use another name',
      );
    }
    if (!onReplica) continue;
    // it would live in a connection to a replica, where the session's writes cannot go
    if (verdict.pin !== null || verdict.functions.some((f) => f.name.includes('advisory'))) {
      const text = `${verdict.pin ?? 'advisory lock'}: not in a READ ONLY transaction on a replica`;
      return new FairleadError('unsupported', text, 'begin the transaction without READ ONLY');
    }
  }
  return null;
}
