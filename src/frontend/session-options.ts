import { parseTimeMs } from '../config/units.ts';
import { FairleadError } from '../core/errors.ts';
import type { CausalityKeys, SharedWrites } from '../routing/causality-keys.ts';
import type { Consistency } from '../routing/route-read.ts';

const CONSISTENCIES: readonly string[] = ['eventual', 'session', 'strong', 'primary'] satisfies Consistency[];

/** Longer keys are refused: they are kept for as long as a session has them. */
const MAX_KEY = 200;

type Values = {
  readonly consistency: Consistency | null;
  readonly maxStalenessMs: number | null;
  readonly causality: { readonly key: string; readonly writes: SharedWrites } | null;
};

const NOTHING_SET: Values = { consistency: null, maxStalenessMs: null, causality: null };

/** The `fairlead.*` settings of one session: for the session, and for the transaction on top. Null: as configured. */
export class SessionOptions {
  #startup = NOTHING_SET;
  #session = NOTHING_SET;
  #local: Values | null = null;
  readonly #keys: CausalityKeys;

  constructor(keys: CausalityKeys) {
    this.#keys = keys;
  }

  consistency(configured: Consistency): Consistency {
    return this.#local?.consistency ?? this.#session.consistency ?? configured;
  }

  /** The same for reads. What other processes have acknowledged under the session's key is among what anybody has. */
  consistencyOfReads(configured: Consistency): Consistency {
    const consistency = this.consistency(configured);
    return this.#keys.apart && consistency === 'session' && this.shared !== null ? 'strong' : consistency;
  }

  /** Of sessions with the same key; null: it has none. */
  get shared(): SharedWrites | null {
    return (this.#local?.causality ?? this.#session.causality)?.writes ?? null;
  }

  /** Empty: none. */
  get causalityKey(): string {
    return (this.#local?.causality ?? this.#session.causality)?.key ?? '';
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
      case 'causality': {
        if (value !== null && value.length > MAX_KEY) throw bad(name, value, `at most ${MAX_KEY} characters`);
        const causality = value === null || value === '' ? null : { key: value, writes: this.#keys.of(value) };
        return this.#change({ causality: value === null && !local ? this.#startup.causality : causality }, local);
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
