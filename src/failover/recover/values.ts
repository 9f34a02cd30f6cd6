import type { Values } from '../../replication/row-change.ts';

/** NULL also where the row does not tell the column: one may be called `constructor`, which every object has. */
export function valueIn(row: Values, column: string): string | null {
  return Object.hasOwn(row, column) ? (row[column] ?? null) : null;
}
