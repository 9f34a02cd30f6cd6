import type pg from 'pg';
import type { Values } from '../../replication/row-change.ts';
import type { Reference, TableShape } from './table-shape.ts';
import { valueIn } from './values.ts';

/**
 * Foreign keys of one transaction. PostgreSQL checks them by triggers, which do not fire where rows are replayed as a replica would:
 * so they are checked here, when all rows are there.
 */
export class References {
  readonly #client: pg.Client;
  readonly #noted = new Map<string, { readonly reference: Reference; readonly values: readonly string[] }>();

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** A row that was written: whom it refers to has to be there. */
  written(shape: TableShape, row: Values): void {
    for (const reference of shape.refers) this.#note(reference, reference.columns, row);
  }

  /** A row as it was before it was deleted or changed: nobody may refer to it any more. */
  replaced(shape: TableShape, row: Values): void {
    for (const reference of shape.referred) this.#note(reference, reference.parentColumns, row);
  }

  /** The first one that is broken, in words; null: none is. */
  async broken(): Promise<string | null> {
    for (const { reference, values } of this.#noted.values()) {
      const { name, table, parent, columns, parentColumns, parentOperators, operators } = reference;
      // locked: it stays until this transaction ends
      const there = `SELECT 1 FROM ${parent} WHERE ${compared(parentColumns, parentOperators)} LIMIT 1 FOR KEY SHARE`;
      if ((await this.#client.query(there, [...values])).rows.length > 0) continue;
      const pointing = `SELECT 1 FROM ${table} WHERE ${compared(columns, operators)} LIMIT 1`;
      if ((await this.#client.query(pointing, [...values])).rows.length === 0) continue;
      return `a row of ${table} would refer to a row of ${parent} that is not there (${columns.join(', ')})=(${values.join(', ')}), by ${name}`;
    }
    return null;
  }

  #note(reference: Reference, columns: readonly string[], row: Values): void {
    const values = columns.map((column) => valueIn(row, column));
    // one NULL refers to nobody: MATCH SIMPLE
    if (values.some((value) => value === null)) return;
    this.#noted.set(JSON.stringify([reference.table, reference.name, values]), {
      reference,
      values: values as string[],
    });
  }
}

function compared(columns: readonly string[], operators: readonly string[]): string {
  return columns.map((column, i) => `${quoted(column)} ${operators[i]} $${i + 1}`).join(' AND ');
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
