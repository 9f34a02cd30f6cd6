import { FairleadError } from '../core/errors.ts';
import type { Verdict } from '../sql/verdict.ts';
import { commandComplete } from '../wire/writer.ts';
import { batchAnswer } from './local-answer.ts';
import { type LoginTemplate, retell } from './login-templates.ts';
import type { OwnAnswerHost } from './own-answers.ts';
import { onlyStatement, textOf } from './plain-work.ts';
import { valueAnswer } from './value-answer.ts';
import type { Work } from './work.ts';

const IN_RECOVERY = /^\s*select\s+(pg_catalog\s*\.\s*)?pg_is_in_recovery\s*\(\s*\)\s*;?\s*$/i;
const IN_HOT_STANDBY = /^\s*show\s+in_hot_standby\s*;?\s*$/i;

/** What a client of the read-only port is told at its login: it is connected to a standby. */
export function standbyTemplate(template: LoginTemplate): LoginTemplate {
  const told = new Map(template);
  retell(told, 'default_transaction_read_only', 'on');
  retell(told, 'in_hot_standby', 'on');
  return told;
}

/**
 * Requests on the read-only port that are answered without a server: what would betray that a read fell back to the primary, and what would
 * let a session write there.
 * @returns true when the request is dealt with
 */
export function answerAsStandby(work: Work, host: OwnAnswerHost): boolean {
  const refusal = refusalOf(work.verdicts);
  if (refusal !== null) {
    host.fail(work, refusal);
    return true;
  }
  const verdict = onlyStatement(work);
  if (verdict === null) return false;
  if (verdict.readOnly === false) {
    // a default that a standby would take, and never heed
    const done = commandComplete('SET');
    host.answer(
      work,
      work.batch === null
        ? done
        : batchAnswer(
            work.batch,
            () => null,
            () => done,
          ),
      false,
    );
    return true;
  }
  if (!asksForRole(verdict)) return false;
  const text = textOf(work);
  const known = IN_RECOVERY.test(text)
    ? ({ column: 'pg_is_in_recovery', value: true, tag: 'SELECT 1', parameters: [] } as const)
    : IN_HOT_STANDBY.test(text)
      ? ({ column: 'in_hot_standby', value: 'on', tag: 'SHOW', parameters: [] } as const)
      : null;
  if (known === null) return false;
  host.answer(work, valueAnswer(work, known), false);
  return true;
}

function asksForRole({ functions, settings }: Verdict): boolean {
  return functions.some((f) => f.name === 'pg_is_in_recovery') || settings.includes('in_hot_standby');
}

function refusalOf(verdicts: readonly Verdict[]): FairleadError | null {
  for (const verdict of verdicts) {
    if (verdict.readOnly === false && !(verdict.changesSettings && verdict.statements === 1 && verdicts.length === 1)) {
      return new FairleadError('unsupported', 'cannot set transaction read-write mode during recovery', USE_OTHER_PORT);
    }
    if (verdict.listenSteps?.some((step) => step.kind === 'listen') === true) {
      return new FairleadError('read_only', 'cannot execute LISTEN during recovery', USE_OTHER_PORT);
    }
  }
  return null;
}

const USE_OTHER_PORT = 'this port is read-only; connect to the other one';
