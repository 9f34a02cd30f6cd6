import type { Verdict } from '../sql/verdict.ts';
import { CLIENT } from '../wire/message-type.ts';
import type { Work } from './work.ts';

/** The verdict of a request that is one whole statement, run at most once and in one go; null for all others. */
export function onlyStatement(work: Work): Verdict | null {
  const verdict = work.verdicts[0];
  if (verdict === undefined || work.verdicts.length > 1 || verdict.statements !== 1 || work.kind === 'stream')
    return null;
  if (work.batch === null) return verdict;
  if (work.raw !== null) return null;
  let executed = 0;
  for (const item of work.batch.items()) {
    if (item.statement !== null && item.statement.verdict !== verdict) return null;
    if (item.type === CLIENT.BIND && item.statement === null) return null;
    if (item.type === CLIENT.EXECUTE) executed++;
  }
  return executed <= 1 ? verdict : null;
}

/** True unless its statement is only parsed or described. */
export function runs(work: Work): boolean {
  return work.batch === null || work.batch.executes;
}

/** Text of the only statement. */
export function textOf(work: Work): string {
  const raw = work.raw ?? work.batch?.items().find((item) => item.statement !== null)?.statement?.prepared.body;
  if (raw === undefined) return '';
  const start = work.raw === null ? 0 : 5;
  const end = raw.indexOf(0, start);
  return raw.toString('utf8', start, end === -1 ? raw.length : end);
}
