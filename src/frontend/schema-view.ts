import type { Catalogs } from '../backend/catalogs.ts';
import type { Catalog } from '../sql/catalog.ts';
import { joinedChange, type SchemaChange } from '../sql/schema-change.ts';
import type { Verdict } from '../sql/verdict.ts';

/** The catalog as one session may trust it: not before its own DDL is in it. */
export class SchemaView {
  readonly #catalogs: Catalogs;
  readonly #database: string;
  /** Relations that were made in the transaction that is open, and those that are not in the catalog yet; `all`: anything may differ. */
  #open: SchemaChange | null = null;
  #committed: SchemaChange | null = null;
  /** The change that the catalog has to know. */
  #change = 0;

  constructor(catalogs: Catalogs, database: string) {
    this.#catalogs = catalogs;
    this.#database = database;
  }

  /** Null: nothing is known, and every function may do anything. */
  get catalog(): Catalog | null {
    const catalog = this.#catalogs.of(this.#database);
    return this.#outdated === 'all' ? null : catalog;
  }

  /** True when the statements read what the session has changed, and the catalog does not know yet: they belong on the primary. */
  outdates(verdicts: readonly Verdict[]): boolean {
    const outdated = this.#outdated;
    if (outdated === null || outdated === 'all') return outdated !== null;
    return verdicts.some(({ relations }) => relations.some(({ name }) => outdated.includes(name)));
  }

  /** True when the catalog has all that the session changed. */
  get settled(): boolean {
    return this.#committed === null && this.#open === null;
  }

  /** Statements were run. @param inTransaction a transaction block is open now */
  ran(verdicts: readonly Verdict[], inTransaction: boolean): void {
    // whether a text that failed, or a transaction that was rolled back, has changed anything is not worth finding out
    for (const { altersSchema } of verdicts) {
      if (altersSchema !== undefined) this.#open = joinedChange([this.#open ?? undefined, altersSchema]);
    }
    if (this.#open === null || inTransaction) return;
    this.#committed = joinedChange([this.#outdated ?? undefined, this.#open]);
    this.#open = null;
    this.#change = this.#catalogs.changed(this.#database);
  }

  get #outdated(): SchemaChange | null {
    if (this.#committed !== null && this.#catalogs.knows(this.#database, this.#change)) this.#committed = null;
    if (this.#open === null || this.#committed === null) return this.#open ?? this.#committed;
    return joinedChange([this.#open, this.#committed]);
  }
}
