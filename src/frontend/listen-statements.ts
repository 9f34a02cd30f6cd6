import { FairleadError } from '../core/errors.ts';
import type { Verdict } from '../sql/verdict.ts';
import { commandComplete, dataRow, rowDescription } from '../wire/writer.ts';
import type { Transaction } from './client-output.ts';
import { batchAnswer } from './local-answer.ts';
import type { OwnAnswerHost } from './own-answers.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { Work } from './work.ts';

/** NAMEDATALEN - 1, less than a character: a longer name is cut by the server, with a notice that only the server gives: it gets those. */
const MAX_NAME_BYTES = 60;

const CHANNELS = /^\s*select\s+(\*\s+from\s+)?(pg_catalog\s*\.\s*)?pg_listening_channels\s*\(\s*\)\s*;?\s*$/i;
const CHANNELS_COLUMN = 'pg_listening_channels';

/** What the session may do here. */
export type ListenStatementsHost = {
  /** Made when it is first needed. */
  subscriptions(): Subscriptions;
  /** False where the session's own server connection listens: in session mode, or since a function made it. */
  readonly shared: boolean;
  /** True while the session listens on anything through the shared connection. */
  readonly listens: boolean;
  /** Calls `then` when everything that was notified before has been told to the client. */
  settle(then: () => void): void;
  /** Asks for what its own server connection listens on. */
  ownChannels(then: (channels: readonly string[]) => void): void;
};

/**
 * LISTEN, UNLISTEN and pg_listening_channels() as statements of their own: answered here, no server connection is kept for them.
 * @returns true when the request is dealt with here, now or later
 */
export function takeListening(
  work: Work,
  transaction: Transaction,
  host: ListenStatementsHost,
  answers: OwnAnswerHost,
): boolean {
  const verdict = transaction === 'failed' ? null : onlyStatement(work);
  if (verdict === null) return false;
  if (asksForChannels(verdict)) return takeChannels(work, transaction, host, answers);
  const step = verdict.listenSteps?.[0];
  if (step === undefined || verdict.changesSettings || !host.shared) return false;
  if (step.kind !== 'listen' && step.kind !== 'unlisten') return false;
  if (step.name !== null && Buffer.byteLength(step.name) > MAX_NAME_BYTES) return false;
  const done = () => answers.answer(work, answerTo(work, step.kind === 'listen' ? 'LISTEN' : 'UNLISTEN'), false);
  if (!runs(work)) done();
  else if (transaction === 'open') {
    host.subscriptions().note(step);
    done();
  } else if (step.kind === 'unlisten') {
    const { name } = step;
    if (!host.listens) done();
    else {
      // what was notified before is told before
      host.settle(() => {
        host.subscriptions().unlisten(name);
        done();
      });
    }
  } else {
    host.subscriptions().listen(step.name, (error) => {
      if (error === null) done();
      else answers.fail(work, error);
    });
  }
  return true;
}

function takeChannels(
  work: Work,
  transaction: Transaction,
  host: ListenStatementsHost,
  answers: OwnAnswerHost,
): boolean {
  if (!host.listens) return false;
  const alone = CHANNELS.test(textOf(work));
  if (!alone && transaction === 'none') {
    if (host.shared) work.listens = [...host.subscriptions().channels];
    return false;
  }
  // a LISTEN in a transaction shows at its end
  if (!alone) {
    const error = new FairleadError(
      'unsupported',
      'pg_listening_channels() can only be asked for by itself in a transaction',
      'send SELECT pg_listening_channels() alone, or outside of the transaction',
    );
    answers.fail(work, error);
    return true;
  }
  if (!runs(work)) answerChannels(work, [], host, answers);
  else host.ownChannels((own) => answerChannels(work, own, host, answers));
  return true;
}

function answerChannels(work: Work, own: readonly string[], host: ListenStatementsHost, answers: OwnAnswerHost): void {
  const channels = new Set([...host.subscriptions().channels, ...own]);
  const rows = [...channels].map((channel) => dataRow([channel]));
  const end = commandComplete(`SELECT ${rows.length}`);
  const bytes =
    work.batch === null
      ? Buffer.concat([rowDescription([CHANNELS_COLUMN]), ...rows, end])
      : batchAnswer(
          work.batch,
          () => [CHANNELS_COLUMN],
          () => Buffer.concat([...rows, end]),
        );
  answers.answer(work, bytes, false);
}

function asksForChannels(verdict: Verdict): boolean {
  return verdict.functions.some((f) => f.name === CHANNELS_COLUMN);
}

function answerTo(work: Work, tag: string): Buffer {
  const done = commandComplete(tag);
  return work.batch === null
    ? done
    : batchAnswer(
        work.batch,
        () => null,
        () => done,
      );
}
