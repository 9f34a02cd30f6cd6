import type { Catalog } from './catalog.ts';
import type { CatalogTables, TableSink } from './catalog-tables.ts';

/** What a walk over one statement finds that it reads. */
export class ReadTables implements TableSink {
  readonly oids = new Set<number>();
  /** Why nobody can tell what it reads; null while that is not so. */
  why: string | null = null;
  /** It tells when the transaction began. */
  tellsTime = false;
  readonly #tables: CatalogTables | null;
  readonly #asked = new Set<number>();
  readonly #bodies: string[] = [];

  constructor(catalog: Catalog | null) {
    this.#tables = catalog?.tables ?? null;
    if (this.#tables === null) this.opaque('the catalog is not known');
    else this.#tables.anything(this);
  }

  relation(schema: string | null, name: string): void {
    this.#tables?.relation(schema, name, this);
  }

  call(schema: string | null, name: string): void {
    this.#tables?.call(schema, name, this);
  }

  column(name: string): void {
    this.#tables?.column(name, this);
  }

  attribute(name: string): void {
    this.#tables?.attribute(name, this);
  }

  operator(name: string): void {
    this.#tables?.operator(name, this);
  }

  cast(type: string): void {
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
    if (this.#asked.has(oid)) return;
    this.#asked.add(oid);
    this.#bodies.push(text);
  }

  /** Texts of functions that nobody has looked into. */
  takeBodies(): string[] {
    return this.#bodies.splice(0);
  }
}
