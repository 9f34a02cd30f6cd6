import { isPrimaryRelation } from './builtins.ts';
import { type Catalog, callWithoutCatalog, type FunctionFinding } from './catalog.ts';
import { ReadTables } from './read-tables.ts';
import type { SchemaChange } from './schema-change.ts';
import type { BackendSignal, FunctionCall, ListenStep, PinReason, QualifiedName, StatementUse } from './verdict.ts';

/** Settings under which a literal of a statement is read when that is parsed, and kept so. */
const MATTERS_TO_LITERALS =
  /^(timezone|timezone_abbreviations|datestyle|intervalstyle|standard_conforming_strings|backslash_quote|array_nulls|default_text_search_config|lc_.*|xmloption|transform_null_equals)$/i;

/** What a walk over one statement has found so far. Starts as the best case; each finding can only make it worse. */
export class Findings {
  readonly catalog: Catalog | null;
  readonly relations: QualifiedName[] = [];
  readonly functions: FunctionCall[] = [];
  readonly settings: string[] = [];
  readonly releases: PinReason[] = [];
  readonly listenSteps: ListenStep[] = [];
  readonly statementUses: StatementUse[] = [];
  /** First reason against a replica; null while there is none. */
  needsPrimary: string | null = null;
  mayWrite = false;
  callsVolatile = false;
  mayAdvanceSequence = false;
  mayUnpin = false;
  /** A node that is not known to be a read. */
  notUnderstood: string | null = null;
  readonly pins: PinReason[] = [];
  ofSession = false;
  unseen = false;
  altersSchema: SchemaChange | null = null;
  changesSettings = false;
  settingsByName = true;
  changesLiterals = false;
  signal: BackendSignal | null = null;

  readonly tables: ReadTables;

  /** @param tables where what it reads is noted */
  constructor(catalog: Catalog | null, tables: ReadTables = new ReadTables(catalog)) {
    this.catalog = catalog;
    this.tables = tables;
  }

  primary(reason: string, mayWrite: boolean): void {
    this.needsPrimary ??= reason;
    if (mayWrite) this.mayWrite = true;
  }

  relation(schema: string | null, name: string): void {
    this.tables.relation(schema, name);
    if (!this.relations.some((r) => r.schema === schema && r.name === name)) this.relations.push({ schema, name });
    const reason =
      schema !== null && /^pg_temp(_\d+)?$/.test(schema)
        ? `reads temporary table ${name}`
        : this.catalog !== null
          ? this.catalog.relation(schema, name)
          : isPrimaryRelation(schema, name)
            ? `reads ${name}, which is about the server it runs on`
            : null;
    if (reason !== null) this.primary(reason, false);
  }

  call(schema: string | null, name: string, args: number, types: readonly (string | null)[]): FunctionFinding {
    if (!this.functions.some((f) => f.schema === schema && f.name === name && f.args === args)) {
      this.functions.push({ schema, name, args });
    }
    this.tables.call(schema, name);
    const finding =
      this.catalog !== null ? this.catalog.call(schema, name, args, types) : callWithoutCatalog(schema, name);
    if (finding.unsafe !== null) {
      if (this.needsPrimary === null) this.callsVolatile = true;
      this.primary(finding.unsafe, finding.mayWrite);
      if (finding.mayWrite) this.mayAdvanceSequence = true;
    }
    for (const pin of finding.pins) this.pin(pin);
    if (finding.changesSettings) {
      this.changesSettings = true;
      this.settingsByName = false;
    }
    if (finding.unseen === true) this.unseen = true;
    for (const setting of finding.settings) this.setting(setting);
    if (name.startsWith('pg_advisory_unlock')) this.mayUnpin = true;
    if (name === 'pg_advisory_unlock_all') this.releases.push('session advisory lock');
    return finding;
  }

  pin(reason: PinReason): void {
    if (!this.pins.includes(reason)) this.pins.push(reason);
  }

  unpin(reason: PinReason): void {
    const at = this.pins.indexOf(reason);
    if (at !== -1) this.pins.splice(at, 1);
  }

  /** A setting for the transaction only. @param name null: the text does not tell which */
  local(name: string | null): void {
    if (name === null || MATTERS_TO_LITERALS.test(name)) this.changesLiterals = true;
  }

  setting(name: string): void {
    const lower = name.toLowerCase();
    if (!this.settings.includes(lower)) this.settings.push(lower);
  }
}
