import { SERVER } from '../wire/message-type.ts';
import { type Deallocation, EXPECT, type Exchange } from './exchange.ts';
import type { PreparedStatement } from './prepared-statement.ts';

/** The prepared statements that one server connection has, as far as its replies tell. */
export class ServerStatements {
  /** By id, least recently used first. */
  readonly #named = new Map<number, PreparedStatement>();
  #unnamed: PreparedStatement | null = null;
  /** Under names of clients' own, made for a text of SQL that mentions them; closed before anything else runs. */
  readonly standIns = new Set<string>();

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

  /** A reply that may be about statements. @returns false when it shows that what we believed of them is wrong */
  heard(exchange: Exchange, type: number): boolean {
    const entry = exchange.entries[exchange.head] ?? null;
    if (type === SERVER.PARSE_COMPLETE) {
      if (entry === null) return exchange.codes[exchange.head] === EXPECT.PARSE_SKIP;
      if (entry.unnamed) this.#unnamed = entry.statement;
      else this.#named.set(entry.statement.id, entry.statement);
    } else if (type === SERVER.CLOSE_COMPLETE && entry !== null) {
      // a Close that we put in: only now the server has forgotten the statement
      this.#named.delete(entry.statement.id);
    } else if (type === SERVER.COMMAND_COMPLETE && exchange.deallocation !== null) {
      this.deallocated(exchange.deallocation);
    }
    return true;
  }

  /** A simple query, or a Parse that failed. */
  dropUnnamed(): void {
    this.#unnamed = null;
  }

  /** DEALLOCATE ALL, DISCARD ALL: all but the unnamed one. */
  forgetAll(): void {
    this.#named.clear();
    this.standIns.clear();
  }

  /** A DEALLOCATE was answered. */
  deallocated({ gone, all }: Deallocation): void {
    if (all) this.forgetAll();
    for (const { name } of gone) this.standIns.delete(name);
  }
}
