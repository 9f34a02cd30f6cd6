import { LSN_ZERO, type Lsn } from '../core/lsn.ts';
import {
  type BodyEffect,
  bodyEffects,
  EFFECT_PINS,
  FUNCTION_PINS,
  isHarmlessOnPrimary,
  isPrimaryOnlyFunction,
  isPrimaryRelation,
  SAFE_VOLATILE,
  SAFE_WITHOUT_CATALOG,
} from './builtins.ts';
import type { CatalogRow } from './catalog-query.ts';
import type { CatalogTables } from './catalog-tables.ts';
import type { PinReason } from './verdict.ts';

/** What a call means for routing and pooling. `unsafe` is the reason why it needs the primary, null when it does not. */
export type FunctionFinding = {
  readonly unsafe: string | null;
  readonly mayWrite: boolean;
  readonly pins: readonly PinReason[];
  readonly changesSettings: boolean;
  readonly settings: readonly string[];
  /** Nobody knows what it runs. */
  readonly unseen?: boolean;
};

type UserFunction = {
  readonly schema: string;
  readonly types: readonly string[];
  readonly min: number;
  readonly max: number;
  readonly volatile: boolean;
  /** The first parameter takes a row, so that `t.f` can mean `f(t)`. */
  readonly row: boolean;
  readonly effects: readonly BodyEffect[];
  readonly settings: readonly string[];
};

type Relation = { readonly why: string | null; readonly reads: readonly (readonly [string, string])[] };

/** A function's type as the parser writes it → as `format_type` does, for the types whose name is the same to both. */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
  float4: 'real',
  float8: 'double precision',
  bool: 'boolean',
  varchar: 'character varying',
  bpchar: 'character',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
  time: 'time without time zone',
  timetz: 'time with time zone',
};

export function typeName(parserName: string): string {
  return TYPE_NAMES[parserName] ?? parserName;
}

/**
 * What the primary's catalog knows of functions and relations: immutable, replaced when the catalog changes. Names are
 * looked up in all schemas when they are not qualified, for the search_path is the session's: the worst one counts.
 */
export class Catalog {
  readonly #functions = new Map<string, UserFunction[]>();
  readonly #builtins = new Set<string>();
  readonly #volatileBuiltins = new Set<string>();
  readonly #relations = new Map<string, Map<string, Relation>>();
  readonly #operators = new Set<string>();
  readonly #casts = new Set<string>();

  /** Which tables statements read; null: that was not asked. */
  readonly tables: CatalogTables | null;
  readonly stamp: CatalogStamp = { schemaVersion: -1, lsn: LSN_ZERO };
  #fingerprint = '';

  private constructor(tables: CatalogTables | null) {
    this.tables = tables;
  }

  /**
   * @param rows of `CATALOG_QUERY`.
   * @param previous is returned when nothing has changed, so that verdicts made with it stay cached.
   */
  static from(
    rows: readonly CatalogRow[],
    previous: Catalog | null = null,
    tables: CatalogTables | null = null,
  ): Catalog {
    const fingerprint = rows
      .map((row) => JSON.stringify(row))
      .sort()
      .join('\n');
    const sameTables = previous?.tables?.fingerprint === tables?.fingerprint;
    if (previous !== null && sameTables && previous.#fingerprint === fingerprint) return previous;
    const catalog = new Catalog(tables);
    catalog.#fingerprint = fingerprint;
    for (const row of rows) catalog.#add(row);
    return catalog;
  }

  get functions(): number {
    let count = 0;
    for (const overloads of this.#functions.values()) count += overloads.length;
    return count;
  }

  /** The worst that the call can mean. `types` has null for each argument whose type the text does not tell. */
  call(schema: string | null, name: string, args: number, types: readonly (string | null)[]): FunctionFinding {
    const builtin =
      (schema === null || schema === 'pg_catalog' || schema === 'information_schema') && this.#builtins.has(name);
    let candidates = (this.#functions.get(name) ?? []).filter(
      (f) => (schema === null || f.schema === schema) && args >= f.min && args <= f.max,
    );
    if (!builtin && types.length === args && types.every((type) => type !== null)) {
      // PostgreSQL takes an exact match before it considers any conversion (func_get_detail), if the search_path shows
      // it: so an exact match rules out the others of its own schema only.
      const exact = new Set(candidates.filter((f) => isExact(f, types)));
      const schemas = new Set([...exact].map((f) => f.schema));
      candidates = candidates.filter((f) => exact.has(f) || !schemas.has(f.schema));
    }
    const finding = builtinFinding(name, builtin && this.#volatileBuiltins.has(name));
    if (!builtin && candidates.length === 0 && finding.unsafe === null) {
      return {
        ...finding,
        unsafe: `calls ${name}, which the catalog does not know with ${args} arguments`,
        ...UNKNOWN,
      };
    }
    let { unsafe, mayWrite, pins, changesSettings, settings } = finding;
    for (const f of candidates) {
      if (f.volatile) {
        unsafe ??= `calls volatile function ${name}`;
        mayWrite = true;
      }
      for (const effect of f.effects) {
        unsafe ??= `calls function ${name}, which may change the session's state`;
        mayWrite = true;
        const pin = EFFECT_PINS[effect];
        if (pin !== null) pins = [...pins, pin];
        if (effect === 'settings') changesSettings = true;
      }
      if (f.settings.length > 0) settings = [...settings, ...f.settings];
    }
    return { unsafe, mayWrite, pins, changesSettings, settings };
  }

  /** `t.name` or `(x).name`: why it may be a call that needs the primary, or null. */
  attribute(name: string): string | null {
    const found = this.#functions.get(name)?.find((f) => f.row && f.min <= 1 && (f.volatile || f.effects.length > 0));
    return found === undefined ? null : `may call volatile function ${name} on a row`;
  }

  /** True when a function of this name exists outside pg_catalog. */
  hasUserFunction(name: string): boolean {
    return this.#functions.has(name);
  }

  /** Why the relation must be read on the primary, or null. */
  relation(schema: string | null, name: string): string | null {
    return this.#relationIn(schema, name, new Set());
  }

  operator(name: string): string | null {
    return this.#operators.has(name) ? `uses operator ${name}, whose function is volatile` : null;
  }

  cast(type: string): string | null {
    return this.#casts.has(type) ? `casts to ${type} by a volatile function` : null;
  }

  #relationIn(schema: string | null, name: string, seen: Set<string>): string | null {
    if (isPrimaryRelation(schema, name)) return `reads ${name}, which is about the server it runs on`;
    const bySchema = this.#relations.get(name);
    if (bySchema === undefined) return null;
    for (const [inSchema, relation] of bySchema) {
      if (schema !== null && inSchema !== schema) continue;
      const key = `${inSchema}.${name}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (relation.why !== null) return relation.why;
      for (const [readSchema, readName] of relation.reads) {
        const why = this.#relationIn(readSchema, readName, seen);
        if (why !== null) return `view ${name} ${why}`;
      }
    }
    return null;
  }

  #add(row: CatalogRow): void {
    const info = (typeof row.info === 'string' ? JSON.parse(row.info) : (row.info ?? {})) as Record<string, unknown>;
    switch (row.kind) {
      case 'builtins':
        for (const name of String(info.all ?? '').split(' ')) this.#builtins.add(name);
        // EXTRACT(… FROM …) calls date_part before PostgreSQL 14; the parser is a newer one's
        if (this.#builtins.has('date_part')) this.#builtins.add('extract');
        for (const name of String(info.volatile ?? '').split(' ')) this.#volatileBuiltins.add(name);
        return;
      case 'function': {
        const types = (info.types ?? []) as string[];
        const variadic = info.variadic === true;
        const min = Number(info.min ?? types.length);
        const overloads = this.#functions.get(row.name) ?? [];
        overloads.push({
          schema: row.schema ?? '',
          types,
          min: variadic ? Math.min(min, types.length - 1) : min,
          max: variadic ? Number.POSITIVE_INFINITY : types.length,
          volatile: info.volatile !== false,
          row: info.row === true,
          effects: (info.effects ?? []) as BodyEffect[],
          settings: (info.settings ?? []) as string[],
        });
        this.#functions.set(row.name, overloads);
        return;
      }
      case 'relation': {
        const bySchema = this.#relations.get(row.name) ?? new Map<string, Relation>();
        const before = bySchema.get(row.schema ?? '');
        const calls = typeof info.calls === 'string' ? `view ${row.name} calls ${info.calls}` : null;
        const why = typeof info.why === 'string' ? `reads ${row.name}: ${info.why}` : calls;
        bySchema.set(row.schema ?? '', {
          why: before?.why ?? why,
          reads: [...(before?.reads ?? []), ...((info.reads ?? []) as [string, string][])],
        });
        this.#relations.set(row.name, bySchema);
        return;
      }
      case 'operator':
        this.#operators.add(row.name);
        return;
      case 'cast':
        this.#casts.add(row.name);
        return;
      default:
        throw new Error(`unknown catalog row ${row.kind}`);
    }
  }
}

/** When the catalog was last found to be right. The only writer is whoever reads catalogs. */
export type CatalogStamp = {
  /** The version of the schema, as the logical stream tells of changes, that it is known to be the catalog of; -1: of none. */
  schemaVersion: number;
  /** Everything in it was committed before. */
  lsn: Lsn;
};

/** Of a function that may do anything. */
const UNKNOWN = { mayWrite: true, changesSettings: true, unseen: true } as const;

function isExact(f: UserFunction, types: readonly (string | null)[]): boolean {
  return f.types.length === types.length && f.types.every((type, i) => type === types[i]);
}

/** Before the catalog is known: only a handful of functions count as harmless. */
export function callWithoutCatalog(schema: string | null, name: string): FunctionFinding {
  const finding = builtinFinding(name, false);
  if (finding.unsafe !== null) return finding;
  if ((schema === null || schema === 'pg_catalog') && SAFE_WITHOUT_CATALOG.has(name)) return finding;
  return { ...finding, unsafe: `calls ${name}, and the catalog has not been read yet`, ...UNKNOWN };
}

/** Effects of a DO block's body, as far as words tell. */
export function bodyFinding(body: string): { pins: readonly PinReason[]; changesSettings: boolean } {
  const effects = bodyEffects(body);
  const pins = effects.map((effect) => EFFECT_PINS[effect]).filter((pin) => pin !== null);
  return { pins, changesSettings: effects.includes('settings') };
}

/** What is known by name, in whatever schema: pins, set_config, and the lists of `builtins.ts`. */
function builtinFinding(name: string, volatile: boolean): FunctionFinding {
  const primaryOnly = isPrimaryOnlyFunction(name);
  const pin = FUNCTION_PINS.get(name);
  const unsafe = primaryOnly
    ? `calls ${name}, which needs the primary`
    : volatile && !SAFE_VOLATILE.has(name)
      ? `calls volatile function ${name}`
      : null;
  return {
    unsafe,
    mayWrite: unsafe !== null && !isHarmlessOnPrimary(name),
    pins: pin === undefined ? [] : [pin],
    changesSettings: name === 'set_config',
    settings: [],
  };
}
