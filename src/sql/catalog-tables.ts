import { createHash } from 'node:crypto';
import { type Lsn, parseLsn } from '../core/lsn.ts';
import type { CatalogRow } from './catalog-query.ts';

/** What an object reads, by OID, as far as the catalog tells; `body`: the text of a function in SQL, which tells the rest. */
type Known = {
  readonly label: string;
  readonly table: boolean;
  readonly oid: number;
  readonly schema: string;
  readonly reads: readonly number[];
  readonly calls: readonly number[];
  readonly opaque: string | null;
  readonly body: string | null;
  readonly clock: boolean;
};

/** When a catalog was read: everything in it was committed before `lsn`; `snapshot` as `pg_current_snapshot()` prints it. */
export type CatalogInstant = { readonly lsn: Lsn; readonly snapshot: string };

/** Collects what one statement reads. */
export type TableSink = {
  table(oid: number): void;
  opaque(reason: string): void;
  /** It tells when the transaction began. */
  clock(): void;
  /** A function in SQL is called; its text says what it reads. False: that was asked before. */
  body(oid: number, text: string): void;
};

/** FirstNormalObjectId */
const FIRST_USER_OID = 16384;

/** They tell when the transaction began. */
const CLOCKS = new Set(['now', 'transaction_timestamp', 'age', 'current_setting']);

/** A literal such as 'now' or 'today' may be of these types. */
const TIME_TYPES = new Set(['date', 'time', 'timetz', 'timestamp', 'timestamptz']);

/** Casts to these look names up, which mean something else when another relation is made. */
const LOOKS_UP = /^reg[a-z]+$/;

/** They tell where a row is and who touched it last, which changes though the row does not. */
const SYSTEM_COLUMNS = new Set(['ctid', 'xmin', 'cmin', 'xmax', 'cmax']);

/**
 * Which tables a name, a call, an operator may read: immutable. Names without a schema are looked up in all schemas, for the search_path
 * is the session's: all that are found count.
 */
export class CatalogTables {
  readonly #byOid = new Map<number, Known>();
  readonly #tables = new Map<string, Known[]>();
  readonly #functions = new Map<string, Known[]>();
  readonly #system = new Set<string>();
  readonly #builtins = new Set<string>();
  readonly #operators = new Set<string>();
  readonly #casts = new Set<string>();
  /** Why nobody knows what any statement reads; null: there is no reason. */
  #hazard: string | null = null;
  /** Null: it was read from a replica. */
  readonly instant: CatalogInstant | null = null;
  /** Of everything but the instant. */
  readonly fingerprint: string;

  /** @param rows of `TABLES_QUERY` */
  constructor(rows: readonly CatalogRow[]) {
    const texts: string[] = [];
    for (const row of rows) {
      const info = (typeof row.info === 'string' ? JSON.parse(row.info) : (row.info ?? {})) as Record<string, unknown>;
      if (row.kind === 'now') {
        const { lsn, snapshot } = info as { lsn: string | null; snapshot: string };
        if (lsn !== null) this.instant = { lsn: parseLsn(lsn), snapshot };
        continue;
      }
      texts.push(JSON.stringify(row));
      this.#add(row, info);
    }
    const hash = createHash('sha256');
    for (const text of texts.sort()) hash.update(text).update('\n');
    this.fingerprint = hash.digest('hex');
  }

  get size(): number {
    return this.#tables.size;
  }

  /** Schema and name of a table, as the catalog has it; null: there is none. */
  nameOf(oid: number): { readonly schema: string; readonly name: string } | null {
    const known = this.#byOid.get(oid);
    return known?.table === true ? { schema: known.schema, name: known.label } : null;
  }

  relation(schema: string | null, name: string, sink: TableSink): void {
    const found = (this.#tables.get(name) ?? []).filter((known) => schema === null || known.schema === schema);
    const system = schema === null || schema === 'pg_catalog' || schema === 'information_schema';
    if (system && this.#system.has(name)) return sink.opaque(`reads ${name}, a catalog`);
    if (found.length === 0) return sink.opaque(`reads ${name}, which the catalog does not know`);
    const seen = new Set<number>();
    for (const known of found) this.#expand(known, sink, seen);
  }

  call(schema: string | null, name: string, sink: TableSink): void {
    if ((schema === null || schema === 'pg_catalog') && this.#builtins.has(name)) sink.opaque(`calls ${name}`);
    if (CLOCKS.has(name)) sink.clock();
    const seen = new Set<number>();
    for (const known of this.#functions.get(name) ?? []) {
      if (schema === null || known.schema === schema) this.#expand(known, sink, seen);
    }
  }

  /** What no text tells. */
  anything(sink: TableSink): void {
    if (this.#hazard !== null) sink.opaque(this.#hazard);
  }

  column(name: string, sink: TableSink): void {
    if (SYSTEM_COLUMNS.has(name)) sink.opaque(`reads ${name}`);
  }

  /** `t.name` may be a call of name(t). */
  attribute(name: string, sink: TableSink): void {
    this.column(name, sink);
    if (this.#functions.has(name)) sink.opaque(`may call ${name}`);
  }

  operator(name: string, sink: TableSink): void {
    if (this.#operators.has(name)) sink.opaque(`uses operator ${name}`);
  }

  cast(type: string, sink: TableSink): void {
    if (TIME_TYPES.has(type)) sink.clock();
    if (LOOKS_UP.test(type) || this.#casts.has(type)) sink.opaque(`casts to ${type}`);
    // the row type of a table: another one of that name may be made
    for (const { oid } of this.#tables.get(type) ?? []) sink.table(oid);
  }

  #expand(known: Known, sink: TableSink, seen: Set<number>): void {
    if (seen.has(known.oid)) return;
    seen.add(known.oid);
    if (known.opaque !== null) return sink.opaque(`${known.label} ${known.opaque}`);
    if (known.clock) sink.clock();
    if (known.table) sink.table(known.oid);
    if (known.body !== null) sink.body(known.oid, known.body);
    for (const oid of [...known.reads, ...known.calls]) {
      const next = this.#byOid.get(oid);
      if (next !== undefined) this.#expand(next, sink, seen);
      else if (oid === 0) continue;
      else sink.opaque(`${known.label} reads ${oid < FIRST_USER_OID ? 'a catalog' : 'what the catalog does not know'}`);
    }
  }

  #add({ kind, schema, name }: CatalogRow, info: Record<string, unknown>): void {
    switch (kind) {
      case 'system':
        for (const one of info.names as string[]) this.#system.add(one);
        return;
      case 'builtins':
        for (const one of info.names as string[]) this.#builtins.add(one);
        return;
      case 'table':
      case 'function': {
        const known: Known = {
          label: name,
          table: kind === 'table',
          oid: Number(info.oid),
          schema: schema ?? '',
          reads: [...((info.reads ?? []) as unknown[]), ...((info.own ?? []) as unknown[])].map(Number),
          calls: ((info.calls ?? []) as unknown[]).map(Number),
          opaque: (info.opaque ?? null) as string | null,
          body: (info.text ?? null) as string | null,
          clock: info.clock === true,
        };
        this.#byOid.set(known.oid, known);
        const byName = kind === 'table' ? this.#tables : this.#functions;
        const same = byName.get(name);
        if (same === undefined) byName.set(name, [known]);
        else same.push(known);
        return;
      }
      case 'operator':
        this.#operators.add(name);
        return;
      case 'cast':
        this.#casts.add(name);
        return;
      case 'hazard':
        this.#hazard = name;
        return;
      default:
        throw new Error(`unknown row ${kind}`);
    }
  }
}
