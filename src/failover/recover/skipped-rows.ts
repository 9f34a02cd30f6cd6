import type { RowChange, Values } from '../../replication/row-change.ts';
import { keyColumns } from './row-statements.ts';
import type { TableShape } from './table-shape.ts';
import { valueIn } from './values.ts';

/**
 * Rows that were lost and not replayed: what a later lost transaction did to them was done to rows that are not there, so it is not
 * replayed either.
 */
export class SkippedRows {
  readonly #rows = new Set<string>();
  /** As the server quotes them. */
  readonly #tables = new Set<string>();
  #all = false;

  /** A change that was not replayed. */
  add(change: Exclude<RowChange, { op: 'truncate' }>, shape: TableShape): void {
    for (const key of keysOf(change, shape)) this.#rows.add(key);
    const before = change.op === 'insert' ? null : change.old;
    // by the key that the table has now nobody knows which row it was
    if (before !== null && keyColumns(shape).some(({ name }) => !Object.hasOwn(before, name))) {
      this.addTables([shape.name]);
    }
  }

  /** A transaction of which nobody knows which rows it changed. No names: of any table. */
  addTables(names: readonly string[]): void {
    if (names.length === 0) this.#all = true;
    for (const name of names) this.#tables.add(name);
  }

  /** Why the change must not be replayed; null: nothing speaks against it. An INSERT of a new key builds on nothing. */
  obstacle(change: Exclude<RowChange, { op: 'truncate' }>, shape: TableShape): string | null {
    if (keysOf(change, shape).some((key) => this.#rows.has(key))) {
      return 'an earlier lost transaction changed this row too, and was not replayed';
    }
    if (change.op === 'insert' || (!this.#all && !this.#tables.has(shape.name))) return null;
    return 'an earlier lost transaction changed rows of this table that nobody knows';
  }
}

/** The row before and after the change. */
function keysOf(change: Exclude<RowChange, { op: 'truncate' }>, shape: TableShape): string[] {
  const columns = keyColumns(shape).map(({ name }) => name);
  const keyOf = (row: Values) => {
    const names = columns.length === 0 ? shape.columns.map(({ name }) => name) : columns;
    return JSON.stringify([shape.name, ...names.map((name) => valueIn(row, name))]);
  };
  const before = change.op === 'insert' ? null : (change.old ?? (change.op === 'update' ? change.new : null));
  const after = change.op === 'delete' ? null : change.new;
  return [before, after].filter((row) => row !== null).map(keyOf);
}
