import { FairleadError } from '../core/errors.ts';
import type { BackendSignal } from '../sql/verdict.ts';
import { formatAt, readBind } from '../wire/bind.ts';
import { CLIENT } from '../wire/message-type.ts';
import { cancelled } from './cancelled.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { valueAnswer } from './value-answer.ts';
import type { Work } from './work.ts';

const INT4 = 23;

/**
 * `SELECT pg_terminate_backend(pid)` and `SELECT pg_cancel_backend(pid)` with the pid that a session was told at its login: no server
 * knows it, so they are done here. Pids of server processes are the servers' business.
 * @returns true when the request is dealt with here
 */
export function takeSignal(work: Work, session: Session, sessions: Sessions): boolean {
  const signal = onlyStatement(work)?.signal;
  if (signal === undefined || signal === null || !runs(work)) return false;
  const pid = pidOf(work, signal);
  const target = pid === null ? undefined : sessions.find(pid);
  if (target === undefined) return false;
  const own = target === session;
  if (!own && !may(session, target)) {
    session.fail(work, refusal(signal));
    return true;
  }
  if (signal.kind === 'cancel' && own) {
    session.fail(work, cancelled());
    return true;
  }
  if (signal.kind === 'cancel') target.cancel();
  else target.terminate(new FairleadError('terminated', 'terminating connection due to administrator command'));
  const column = signal.column ?? `pg_${signal.kind}_backend`;
  const parameters = signal.parameter ? [INT4] : [];
  if (!own) session.answer(work, valueAnswer(work, { column, value: true, tag: 'SELECT 1', parameters }), false);
  return true;
}

/** As PostgreSQL: a session of the same role, or any for a superuser. */
function may({ client, role }: Session, target: Session): boolean {
  if (role !== null) return role === target.client.identity.user;
  return client.superuser || client.identity.user === target.client.identity.user;
}

function refusal({ kind }: BackendSignal): FairleadError {
  const what = kind === 'cancel' ? 'cancel query' : 'terminate process';
  const remedy = 'only a superuser, and the role whose session it is, may do that';
  return new FairleadError('not_permitted', `permission denied to ${what}`, remedy);
}

/** The number in the text, or the value that is bound. */
function pidOf(work: Work, signal: BackendSignal): number | null {
  if (!signal.parameter) {
    const digits = /_backend"?\s*\(\s*(?:'\s*)?(\d+)/i.exec(textOf(work))?.[1];
    return digits === undefined ? null : Number(digits);
  }
  const bind = work.batch?.items().find((item) => item.type === CLIENT.BIND);
  const bound = bind === undefined ? null : readBind(bind.raw);
  const value = bound?.values[0];
  if (bound === null || value === null || value === undefined) return null;
  if (formatAt(bound.parameterFormats, 0) === 1) return value.length === 4 ? value.readInt32BE() : null;
  return /^\s*\d+\s*$/.test(value.toString('latin1')) ? Number(value.toString('latin1')) : null;
}
