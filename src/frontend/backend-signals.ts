import { FairleadError } from '../core/errors.ts';
import type { BackendSignal } from '../sql/verdict.ts';
import { formatAt, readBind } from '../wire/bind.ts';
import { CLIENT } from '../wire/message-type.ts';
import { cancelled } from './cancelled.ts';
import type { Signal, Signaller } from './neighbours.ts';
import { onlyStatement, runs, textOf } from './plain-work.ts';
import type { Services } from './services.ts';
import type { Session } from './session.ts';
import { valueAnswer } from './value-answer.ts';
import type { Work } from './work.ts';

const INT4 = 23;

/**
 * `SELECT pg_terminate_backend(pid)` and `SELECT pg_cancel_backend(pid)` with the pid that a session was told at its login: no server
 * knows it, so they are done here. Pids of server processes are the servers' business.
 * @returns true when the request is dealt with here
 */
export function takeSignal(work: Work, session: Session, { sessions, neighbours }: Services): boolean {
  const signal = onlyStatement(work)?.signal;
  if (signal === undefined || signal === null || !runs(work)) return false;
  const pid = pidOf(work, signal);
  if (pid === null) return false;
  const { kind } = signal;
  const answer = (value: boolean) => {
    const parameters = signal.parameter ? [INT4] : [];
    const column = signal.column ?? `pg_${kind}_backend`;
    session.answer(work, valueAnswer(work, { column, value, tag: 'SELECT 1', parameters }), false);
  };
  if (sessions.isElsewhere(pid)) {
    void neighbours.signal({ kind, pid, by: signaller(session) }).then((outcome) => {
      if (outcome === 'refused') session.fail(work, refusal(signal));
      else answer(outcome === 'done');
    });
    return true;
  }
  const target = sessions.find(pid);
  if (target === undefined) return false;
  if (target !== session) {
    if (signalSession(target, { kind, pid, by: signaller(session) }) === 'refused') session.fail(work, refusal(signal));
    else answer(true);
  } else if (kind === 'cancel') session.fail(work, cancelled());
  else session.terminate(terminated());
  return true;
}

/** Does it, if who asks may: as PostgreSQL, for a session of the same role, or any for a superuser. */
export function signalSession(target: Session, { kind, by }: Signal): 'done' | 'refused' {
  const { user } = target.client.identity;
  if (by.role === null ? !by.superuser && by.user !== user : by.role !== user) return 'refused';
  if (kind === 'cancel') target.cancel();
  else target.terminate(terminated());
  return 'done';
}

function signaller({ client, role }: Session): Signaller {
  return { user: client.identity.user, role, superuser: client.superuser };
}

function terminated(): FairleadError {
  return new FairleadError('terminated', 'terminating connection due to administrator command');
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
