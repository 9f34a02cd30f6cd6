import type { ServerConnection } from '../backend/server-connection.ts';
import type { SettingsSet } from '../backend/settings-set.ts';
import { FairleadError } from '../core/errors.ts';
import type { Verdict } from '../sql/verdict.ts';
import type { ExecutionHost } from './execution-host.ts';
import type { Link } from './link.ts';
import type { SessionMemory } from './session-memory.ts';
import type { SessionOptions } from './session-options.ts';

/**
 * Statements were answered; `inTransaction`: a transaction block is open now; `certain`: nothing of it was bound and not executed. What they
 * leave behind is noted where it is.
 */
export function noteEffects(
  verdicts: readonly Verdict[],
  succeeded: boolean,
  inTransaction: boolean,
  certain: boolean,
  memory: SessionMemory,
  options: SessionOptions,
  connection: ServerConnection,
): void {
  for (const verdict of verdicts) {
    const { settings } = memory;
    memory.note(verdict, succeeded, inTransaction, certain);
    // what a RESET leaves needs no question
    if (memory.settings !== settings) connection.settings = memory.settings;
    if (succeeded && verdict.unpin === 'all') options.resetAll();
    // also where COMMIT AND CHAIN begins another
    if (succeeded && verdict.class === 'end') options.endTransaction();
  }
}

/**
 * Puts settings back that RESET took further than the session's login; their ParameterStatus messages go to the client.
 * `then` follows unless the session had to end.
 */
export function restoreSettings(
  link: Link,
  restored: SettingsSet | null,
  host: Pick<ExecutionHost, 'relay' | 'terminate'>,
  then: () => void,
): void {
  if (restored === null) return then();
  const told = (bytes: Buffer) => {
    host.relay(bytes);
  };
  link.restore(restored, told, (error) => {
    if (error === null) then();
    else host.terminate(new FairleadError('session_lost', 'the connection broke before the settings were restored'));
  });
}

/** Asks the server what is not known any more: the session's settings, and what it holds for it. `then` gets what ends the session, or null. */
export function readBack(
  memory: SessionMemory,
  link: Link,
  host: Pick<ExecutionHost, 'stopReading'>,
  then: (error: FairleadError | null) => void,
): void {
  const doubtful = memory.takeDoubt();
  if (doubtful === null && !memory.settingsChanged) return then(null);
  host.stopReading();
  const verify = () => {
    if (doubtful === null) then(null);
    else memory.verifyPins(link, doubtful, () => then(null));
  };
  if (!memory.settingsChanged) return verify();
  memory.capture(link, (known) => {
    if (known) verify();
    else then(new FairleadError('session_lost', 'the connection broke before the settings were known'));
  });
}
