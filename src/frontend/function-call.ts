import type { PinReason, Verdict } from '../sql/verdict.ts';

/** Built-in functions that leave in the session what no server can be asked about: by the OIDs of pg_proc.dat, which never change. */
const PINS: ReadonlyMap<number, PinReason> = new Map([
  [1575, 'sequence state'], // currval
  [2559, 'sequence state'], // lastval
  [2026, 'pg_backend_pid'],
  [1599, 'server state'], // setseed
  [6006, 'server state'], // pg_replication_origin_session_setup
]);
const SET_CONFIG = 2078;

const verdicts = new Map<string, Verdict>();

/**
 * The verdict on a FunctionCall message. It names a function by its OID, whose meaning only the server knows: it may have done anything
 * that a function can, and what is left of it is asked for.
 * @param start at the type byte
 */
export function functionCallVerdict(buffer: Buffer, start: number, end: number): Verdict {
  const oid = end - start < 9 ? 0 : buffer.readUInt32BE(start + 5);
  const setting = oid === SET_CONFIG ? firstArgument(buffer.subarray(start + 9, end)) : null;
  if (setting !== null) return made(PINS.get(oid) ?? null, [setting]);
  const pin = PINS.get(oid) ?? null;
  const key = pin ?? '';
  let verdict = verdicts.get(key);
  if (verdict === undefined) {
    verdict = made(pin, []);
    verdicts.set(key, verdict);
  }
  return verdict;
}

function made(pin: PinReason | null, settings: readonly string[]): Verdict {
  return Object.freeze({
    class: 'write',
    reason: 'calls a function by its OID',
    statements: 1,
    readOnly: null,
    isolation: null,
    pin,
    unpin: null,
    changesSettings: true,
    settings,
    settingsByName: false,
    relations: [],
    functions: [],
    command: null,
    hint: null,
    mayAdvanceSequence: true,
    unseen: true,
  } satisfies Verdict);
}

/** @param body of the message, behind the OID. @returns null when it is not all there, or NULL */
function firstArgument(body: Buffer): string | null {
  const argumentsAt = body.length < 2 ? body.length : 2 + 2 * body.readUInt16BE(0);
  if (body.length < argumentsAt + 6) return null;
  const length = body.readInt32BE(argumentsAt + 2);
  if (length <= 0 || length > 128) return null;
  return body.toString('utf8', argumentsAt + 6, argumentsAt + 6 + length).toLowerCase();
}
