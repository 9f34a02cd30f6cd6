import type { StatementEntry } from './exchange.ts';
import type { PreparedStatement } from './prepared-statement.ts';

/** The prepared statements that one server connection has, as far as its replies tell. */
export class ServerStatements {
  /** By id, least recently used first. */
  readonly #named = new Map<number, PreparedStatement>();
  #unnamed: PreparedStatement | null = null;

  get size(): number {
    return this.#named.size;
  }

  /** The statement under the empty name, if known. */
  get unnamed(): PreparedStatement | null {
    return this.#unnamed;
  }

  /** Least recently used first. */
  oldestFirst(): Iterable<PreparedStatement> {
    return this.#named.values();
  }

  /** True when it is there; it counts as used. */
  use(statement: PreparedStatement): boolean {
    if (!this.#named.delete(statement.id)) return false;
    this.#named.set(statement.id, statement);
    return true;
  }

  /** ParseComplete came. */
  parsed(entry: StatementEntry): void {
    if (entry.unnamed) this.#unnamed = entry.statement;
    else this.#named.set(entry.statement.id, entry.statement);
  }

  /** CloseComplete came. */
  closed(statement: PreparedStatement): void {
    this.#named.delete(statement.id);
  }

  /** A simple query, or a Parse that failed. */
  dropUnnamed(): void {
    this.#unnamed = null;
  }

  /** DEALLOCATE ALL, DISCARD ALL. */
  forgetAll(): void {
    this.#named.clear();
    this.#unnamed = null;
  }
}
