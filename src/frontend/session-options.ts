import { parseTimeMs } from '../config/units.ts';
import { FairleadError } from '../core/errors.ts';
import type { Consistency } from '../routing/route-read.ts';

const CONSISTENCIES: readonly string[] = ['eventual', 'session', 'strong', 'primary'] satisfies Consistency[];

type Values = { readonly consistency: Consistency | null; readonly maxStalenessMs: number | null };

const NOTHING_SET: Values = { consistency: null, maxStalenessMs: null };

/** The `fairlead.*` settings of one session: for the session, and for the transaction on top. Null: as configured. */
export class SessionOptions {
  #startup = NOTHING_SET;
  #session = NOTHING_SET;
  #local: Values | null = null;

  consistency(configured: Consistency): Consistency {
    return this.#local?.consistency ?? this.#session.consistency ?? configured;
  }

  /** Milliseconds, or null for no bound of its own. */
  get maxStalenessMs(): number | null {
    return this.#local?.maxStalenessMs ?? this.#session.maxStalenessMs;
  }

  /**
   * @param name without `fairlead.`
   * @param value null resets
   * @throws FairleadError bad_parameter
   */
  set(name: string, value: string | null, local: boolean): void {
    switch (name) {
      case 'consistency':
        if (value !== null && !CONSISTENCIES.includes(value)) {
          throw bad(name, value, `one of ${CONSISTENCIES.join(', ')}`);
        }
        return this.#change(
          { consistency: (value as Consistency | null) ?? (local ? null : this.#startup.consistency) },
          local,
        );
      case 'max_staleness': {
        const ms = value === null || value === '' || value === '-1' ? null : parseTimeMs(value);
        if (ms === null && value !== null && value !== '' && value !== '-1')
          throw bad(name, value, "a time such as '500ms'");
        return this.#change({ maxStalenessMs: value === null && !local ? this.#startup.maxStalenessMs : ms }, local);
      }
      default:
        throw new FairleadError(
          'bad_parameter',
          `unrecognized setting "fairlead.${name}"`,
          'SHOW HELP in database fairlead lists them',
        );
    }
  }

  /** What was set so far came with the startup packet: RESET falls back to it. */
  keepAsStartup(): void {
    this.#startup = this.#session;
  }

  /** DISCARD ALL, RESET ALL. */
  resetAll(): void {
    this.#session = this.#startup;
  }

  endTransaction(): void {
    this.#local = null;
  }

  #change(what: Partial<Values>, local: boolean): void {
    if (local) this.#local = { ...(this.#local ?? NOTHING_SET), ...what };
    else this.#session = { ...this.#session, ...what };
  }
}

function bad(name: string, value: string, expected: string): FairleadError {
  return new FairleadError('bad_parameter', `invalid value for fairlead.${name}: "${value}"`, `write ${expected}`);
}
