import { NO_SETTINGS, type SettingsSet, settingsSet } from '../backend/settings-set.ts';
import type { PinReason, StatementUse, Verdict } from '../sql/verdict.ts';
import type { Link } from './link.ts';

/** Counts the times that settings were changed, in all sessions. */
let owners = 0;

/** Pins that a rollback does not undo. */
const LASTING: ReadonlySet<PinReason> = new Set([
  'session advisory lock',
  'sql prepare',
  'load',
  'server state',
  'sequence state',
  'pg_backend_pid',
]);

/** What a function may leave behind. */
const UNSEEN: readonly PinReason[] = ['session advisory lock', 'temporary table', 'listen'];

const NOTHING: readonly StatementUse[] = [];

/** What a server connection holds that pins its session: queries with a row for each such thing. */
const HELD: Readonly<Partial<Record<PinReason, string>>> = {
  'temporary table':
    "SELECT FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass " +
    'AND refobjid = pg_catalog.pg_my_temp_schema()',
  'session advisory lock':
    "SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()",
  'sql prepare': 'SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql',
  'cursor with hold': 'SELECT FROM pg_catalog.pg_cursors WHERE is_holdable',
  listen: 'SELECT FROM pg_catalog.pg_listening_channels()',
};

/** What statements leave behind in a session: settings, which are replayed on every server connection, and pins, which cannot be. */
export class SessionMemory {
  readonly #startup: SettingsSet;
  #settings: SettingsSet;
  /** Like all sets here null while there never was anything in it: most sessions leave nothing. */
  #pins: Set<PinReason> | null = null;
  /** Names of settings to ask for by name when they are read back. */
  #named: Set<string> | null = null;
  #mentioned: Set<string> | null = null;
  #readsCounters = false;
  /** What pins the session may be gone. */
  #doubt = false;
  /** What the server connection listens on is heard through another one. */
  #unlisten = false;
  #changed = false;
  /** Settings may have changed that no statement mentioned. */
  #changedAny = false;
  /** Stands for settings that nobody else is known to have; empty: they are known. */
  #ownKey = '';
  /** What EXECUTE may leave behind, whatever it executes. */
  #executePins: Set<PinReason> | null = null;
  #executeSets = false;

  /** @param startup settings of the startup packet: what RESET falls back to */
  constructor(startup: SettingsSet) {
    this.#startup = startup;
    this.#settings = startup;
  }

  /** What a server connection must have before it runs a statement of the session. */
  get settings(): SettingsSet {
    return this.#settings;
  }

  /** Why the session keeps its server connection between transactions; null when it does not. */
  get pinned(): PinReason | null {
    // asked several times for every statement
    if (this.#pins === null || this.#pins.size === 0) return null;
    for (const reason of this.#pins) return reason;
    return null;
  }

  keeps(reason: PinReason): boolean {
    return this.#pins?.has(reason) === true;
  }

  /** What a statement is parsed under. Settings that are not read back yet are like nobody else's. */
  get parseKey(): string {
    return this.#ownKey === '' ? this.#settings.parseKey : this.#ownKey;
  }

  /** True when settings may have changed since they were last read back. */
  get settingsChanged(): boolean {
    return this.#changed;
  }

  /**
   * True when no statement of the session may run on a replica. A hot standby refuses SERIALIZABLE, and its guarantees hold only among
   * transactions on the primary. Who reads a server's counters expects to find the statements there that follow.
   */
  get primaryOnly(): boolean {
    return this.#readsCounters || this.#settings.values.get('default_transaction_isolation') === 'serializable';
  }

  /**
   * A statement was answered.
   * @param inTransaction a transaction block is open now: what it released comes back if it rolls back
   * @param certain false where it may not have run: it only gets worse by it
   */
  note(verdict: Verdict, succeeded: boolean, inTransaction: boolean, certain: boolean): void {
    if (verdict.changesSettings) this.#noteSettings(verdict, succeeded, inTransaction, certain);
    else if (verdict.altersSchema !== undefined) this.#name(verdict.settings);
    if (verdict.changesLiterals === true && inTransaction) this.#renewKey();
    // of several statements some may have been committed before one failed
    const stays = succeeded || verdict.statements > 1;
    if (verdict.pin !== null) {
      for (const pin of verdict.pins ?? [verdict.pin]) if (stays || LASTING.has(pin)) this.pin(pin);
    }
    if (verdict.unseen === true) {
      for (const reason of UNSEEN) this.pin(reason);
      this.#doubt = true;
    }
    for (const { kind } of verdict.statementUses ?? NOTHING) if (kind === 'execute') this.#executed();
    const { prepares } = verdict;
    if (prepares && stays) {
      for (const pin of prepares.pins) {
        this.#executePins ??= new Set();
        this.#executePins.add(pin);
      }
      if (prepares.changesSettings) this.#executeSets = true;
    }
    const rolledBack = verdict.class === 'end' && verdict.mayWrite === false;
    if (!succeeded || rolledBack || verdict.mayUnpin === true) this.#doubt = true;
    if (!certain && (verdict.unpin !== null || (verdict.releases ?? []).length > 0)) this.#doubt = true;
    if (!succeeded) return;
    if (verdict.readsCounters === true) this.#readsCounters = true;
    // a release inside a transaction is not acted on: the pin stays, which is only slower
    if (!inTransaction && certain) for (const released of verdict.releases ?? []) this.#pins?.delete(released);
    if (verdict.unpin !== 'all' || !certain) return;
    this.#pins = null;
    this.#executePins = null;
    this.#executeSets = false;
    this.#readsCounters = false;
  }

  /** What may be custom settings: they are asked for when settings are read back. */
  mentioned(names: readonly string[]): void {
    for (const name of names) {
      this.#mentioned ??= new Set();
      this.#mentioned.add(name);
    }
  }

  /** Statements are about to run in one go: what is parsed behind one that changes settings is parsed under those. */
  foresee(verdicts: readonly Verdict[]): void {
    for (const { changesSettings, changesLiterals } of verdicts) {
      if (changesSettings || changesLiterals === true) return this.#renewKey();
    }
  }

  /** No transaction is open any more. */
  endTransaction(): void {
    if (!this.#changed) this.#ownKey = '';
  }

  #renewKey(): void {
    this.#ownKey = `own ${++owners}`;
  }

  /** Of a statement made by PREPARE only the name is known. */
  #executed(): void {
    for (const pin of this.#executePins ?? []) this.pin(pin);
    if (!this.#executeSets) return;
    this.#changed = true;
    this.#changedAny = true;
    this.#renewKey();
  }

  #noteSettings(verdict: Verdict, succeeded: boolean, inTransaction: boolean, certain: boolean): void {
    const { resets = [] } = verdict;
    const lasts = succeeded && certain && !inTransaction && !this.#changed;
    if (lasts && verdict.settingsByName === true && verdict.class !== 'unknown') {
      const role = this.#settings.values.get('role');
      // RESET ALL leaves the role
      const kept: [string, string][] = role === undefined || verdict.unpin === 'all' ? [] : [['role', role]];
      if (resets === 'all' && verdict.settings.length === 0) {
        this.#settings = settingsSet([...this.#startup.values, ...kept]);
        return;
      }
      if (verdict.statements === 1 && resets.length > 0 && resets.length === verdict.settings.length) {
        const left = [...this.#settings.values].filter(([name]) => !resets.includes(name));
        const back = [...this.#startup.values].filter(([name]) => resets.includes(name));
        this.#settings = settingsSet([...left, ...back]);
        return;
      }
    }
    this.#changed = true;
    // after an error the name may be one that nobody can set: only a list of what is set tells
    // and asked by its name a setting that was reset looks like one that was set
    if (!succeeded || verdict.settingsByName !== true || resets.length > 0) this.#changedAny = true;
    this.#renewKey();
    this.#name(verdict.settings);
  }

  #name(settings: readonly string[]): void {
    for (const name of settings) {
      this.#named ??= new Set();
      this.#named.add(name);
    }
  }

  /** True when the statements may reset settings that the client gave at its login. */
  mayRestore(verdicts: readonly Verdict[]): boolean {
    // of every request: nothing is allocated for those that reset nothing
    if (this.#startup === NO_SETTINGS) return false;
    for (const { resets } of verdicts) {
      if (resets !== undefined && resets.length > 0) return this.restored(verdicts) !== null;
    }
    return false;
  }

  /** Settings of the login that the statements have reset to the server's defaults, which a direct connection would not do; null: none. */
  restored(verdicts: readonly Verdict[]): SettingsSet | null {
    if (verdicts.some((verdict) => verdict.resets === 'all'))
      return this.#startup === NO_SETTINGS ? null : this.#startup;
    const names = verdicts.flatMap((verdict) => (verdict.resets ?? []) as readonly string[]);
    const values = [...this.#startup.values].filter(([name]) => names.includes(name));
    return values.length === 0 ? null : settingsSet(values);
  }

  /** The session hears by another connection what this one listens on: it need not be kept for that. */
  heardElsewhere(): void {
    this.#unlisten = true;
    this.#doubt = true;
  }

  /** Pins that the server can be asked about, when all are of that kind and may be gone; null otherwise. Asked once. */
  takeDoubt(): readonly PinReason[] | null {
    const pins = this.#doubt && this.#pins !== null && this.#pins.size > 0 ? [...this.#pins] : null;
    this.#doubt = false;
    if (pins === null) return null;
    // a search_path that begins with the temporary schema is a claim to it though nothing is there yet
    const claims = this.keeps('temporary table') && /^"?pg_temp/.test(this.#settings.values.get('search_path') ?? '');
    return !claims && pins.every((reason) => reason in HELD) ? pins : null;
  }

  /** Asks the server which of `reasons` it still holds something for. `then` is called when the others pin no more. */
  verifyPins(link: Link, reasons: readonly PinReason[], then: () => void): void {
    const held = reasons.map((reason) => `SELECT '${reason}' WHERE EXISTS(${HELD[reason]})`);
    if (this.#unlisten) {
      this.#unlisten = false;
      // a text of its own: it takes effect when its transaction is over
      link.ask('UNLISTEN *', () => this.verifyPins(link, reasons, then));
      return;
    }
    link.ask(held.join(' UNION ALL '), (rows, error) => {
      const still = new Set(rows.map(([name]) => name));
      if (error === null) for (const reason of reasons) if (!still.has(reason)) this.#pins?.delete(reason);
      then();
    });
  }

  /** The session keeps its server connection from now on. */
  pin(reason: PinReason): void {
    this.#pins ??= new Set();
    this.#pins.add(reason);
  }

  /** Reads back from the server which settings the session has now. `then(false)`: the answer did not come, and they are unknown. */
  capture(link: Link, then: (known: boolean) => void): void {
    const named = [...(this.#named ?? []), ...(this.#mentioned ?? [])];
    this.#mentioned = null;
    const all = this.#changedAny;
    this.#changed = false;
    this.#changedAny = false;
    this.#ownKey = '';
    // by name they are asked for again only when all are
    for (const name of named) if (!name.includes('.')) this.#named?.delete(name);
    link.capture(named, all, (settings) => {
      if (settings === null) return then(false);
      // what the client reset falls back to what it asked for at its start
      const startup = this.#startup.values;
      this.#settings = this.#startup === NO_SETTINGS ? settings : settingsSet([...startup, ...settings.values]);
      then(true);
    });
  }
}
