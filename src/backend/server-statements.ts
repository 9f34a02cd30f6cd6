import { SERVER } from '../wire/message-type.ts';
import { type Deallocation, EXPECT, type Exchange, type StatementEntry } from './exchange.ts';
import type { PreparedStatement } from './prepared-statement.ts';
import { learnShape, type Shape, unknownShape } from './statement-shape.ts';

/** The prepared statements that one server connection has, as far as its replies tell. */
export class ServerStatements {
  /** By id, least recently used first. */
  readonly #named = new Map<number, PreparedStatement>();
  /** By id: what Describe told of them here. */
  readonly #shapes = new Map<number, Shape>();
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

  has(statement: PreparedStatement): boolean {
    return this.#named.has(statement.id);
  }

  /** One of the same text, parsed under whatever settings: this very one, if it is there. */
  sameText(statement: PreparedStatement): PreparedStatement | null {
    if (this.has(statement)) return statement;
    for (const other of this.#named.values()) if (other.body.equals(statement.body)) return other;
    return null;
  }

  /** What is known of the types that it has here; null: nothing, or it is not there. */
  shapeOf(statement: PreparedStatement): Shape | null {
    return this.#shapes.get(statement.id) ?? null;
  }

  /** A reply that may be about statements, at `start`..`end`. @returns false when it shows that what we believed of them is wrong */
  heard(exchange: Exchange, type: number, buffer: Buffer, start: number, end: number): boolean {
    const entry = exchange.entries[exchange.head] ?? null;
    switch (type) {
      case SERVER.PARSE_COMPLETE:
        if (entry === null) return exchange.codes[exchange.head] === EXPECT.PARSE_SKIP;
        if (!entry.unnamed) this.#shapes.delete(entry.statement.id);
        if (entry.unnamed) this.#unnamed = entry.statement;
        else this.#named.set(entry.statement.id, entry.statement);
        return true;
      case SERVER.CLOSE_COMPLETE:
        if (entry === null) return true;
        // a Close that we put in: only now the server has forgotten the statement
        this.#named.delete(entry.statement.id);
        this.#shapes.delete(entry.statement.id);
        return true;
      case SERVER.COMMAND_COMPLETE:
        if (exchange.deallocation !== null) this.deallocated(exchange.deallocation);
        return true;
      case SERVER.PARAMETER_DESCRIPTION:
      case SERVER.ROW_DESCRIPTION:
      case SERVER.NO_DATA:
        if (entry?.told !== undefined) this.described(entry, type, buffer, start, end);
    }
    return true;
  }

  /** A reply to Describe, at `start`..`end`. */
  described({ statement, told }: StatementEntry, type: number, buffer: Buffer, start: number, end: number): void {
    if (!this.has(statement)) return;
    let shape = this.#shapes.get(statement.id);
    if (shape === undefined) {
      shape = unknownShape();
      this.#shapes.set(statement.id, shape);
    }
    learnShape(shape, type, buffer, start, end);
    if (!told) return;
    if (type === SERVER.PARAMETER_DESCRIPTION) told.parameters = shape.parameters;
    else told.row = shape.row;
  }

  /** A simple query, or a Parse that failed. */
  dropUnnamed(): void {
    this.#unnamed = null;
  }

  /** DEALLOCATE ALL, DISCARD ALL: all but the unnamed one. */
  forgetAll(): void {
    this.#named.clear();
    this.#shapes.clear();
    this.standIns.clear();
  }

  /** A DEALLOCATE was answered. */
  deallocated({ gone, all }: Deallocation): void {
    if (all) this.forgetAll();
    for (const { name } of gone) this.standIns.delete(name);
  }
}
