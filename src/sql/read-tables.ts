import type { Catalog } from './catalog.ts';
import type { CatalogTables, TableSink } from './catalog-tables.ts';
import { isPlainCall, isPlainOperator, isPlainType } from './plain-names.ts';

/** What a walk over one statement finds that it reads. */
export class ReadTables implements TableSink {
  readonly oids = new Set<number>();
  /** Why nobody can tell what it reads; null while that is not so. */
  why: string | null = null;
  /** It tells when the transaction began. */
  tellsTime = false;
  /** See `TablesRead`. */
  plain = true;
  readonly #catalog: Catalog | null;
  readonly #tables: CatalogTables | null;
  readonly #asked = new Set<number>();
  readonly #bodies: string[] = [];
  /** What tables are called in the statement, and columns. */
  readonly #called = new Set<string>();
  readonly #columns = new Set<string>();

  constructor(catalog: Catalog | null) {
    this.#catalog = catalog;
    this.#tables = catalog?.tables ?? null;
    if (this.#tables === null) this.opaque('the catalog is not known');
    else this.#tables.anything(this);
  }

  /** A row as a value has the type of its table, which is another one on each server. */
  get mayTellRows(): boolean {
    return [...this.#called].some((name) => this.#columns.has(name));
  }

  called(name: string): void {
    this.#called.add(name);
  }

  relation(schema: string | null, name: string): void {
    this.#tables?.relation(schema, name, this);
  }

  call(schema: string | null, name: string): void {
    if (!isPlainCall(schema, name) || this.#catalog?.hasUserFunction(name) !== false) this.plain = false;
    this.#tables?.call(schema, name, this);
  }

  column(name: string): void {
    if (name === 'tableoid') this.plain = false;
    this.#columns.add(name);
    this.#tables?.column(name, this);
  }

  attribute(name: string): void {
    if (name === 'tableoid' || this.#catalog?.hasUserFunction(name) !== false) this.plain = false;
    this.#tables?.attribute(name, this);
  }

  operator(name: string, schema: string | null = null): void {
    if (!isPlainOperator(schema, name)) this.plain = false;
    this.#tables?.operator(name, this);
  }

  cast(type: string, schema: string | null = null): void {
    if (!isPlainType(schema, type)) this.plain = false;
    this.#tables?.cast(type, this);
  }

  table(oid: number): void {
    this.oids.add(oid);
  }

  clock(): void {
    this.tellsTime = true;
  }

  opaque(reason: string): void {
    this.why ??= reason;
  }

  body(oid: number, text: string): void {
    this.plain = false;
    if (this.#asked.has(oid)) return;
    this.#asked.add(oid);
    this.#bodies.push(text);
  }

  /** Texts of functions that nobody has looked into. */
  takeBodies(): string[] {
    return this.#bodies.splice(0);
  }
}
