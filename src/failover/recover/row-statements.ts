import type { RowChange, Values } from '../../replication/row-change.ts';
import { quoted } from './references.ts';
import type { TableShape } from './table-shape.ts';

/** A statement with its parameters: values are texts, of the type that the column has. */
export type Statement = { readonly text: string; readonly values: readonly (string | null)[] };

/** Values in what people read are cut off after this many characters. */
const SHOWN = 60;

/** Never overwrites: a row that any unique constraint forbids is not inserted, and there is no answer. */
export function insertStatement({ name, columns }: TableShape, row: Values): Statement {
  const names = columns.filter((column) => column.name in row).map((column) => column.name);
  const values = names.map((column) => row[column] ?? null);
  const target = names.length === 0 ? 'DEFAULT VALUES' : `VALUES (${names.map((_, i) => `$${i + 1}`).join(', ')})`;
  const list = names.length === 0 ? '' : ` (${names.map(quoted).join(', ')}) OVERRIDING SYSTEM VALUE`;
  return { text: `INSERT INTO ${name}${list} ${target} ON CONFLICT DO NOTHING RETURNING xmin::text`, values };
}

/** Changes the row at `ctid`, which is locked. @param row the columns that get another value */
export function updateStatement({ name }: TableShape, row: Values, ctid: string): Statement {
  const names = Object.keys(row);
  const set = names.map((column, i) => `${quoted(column)} = $${i + 2}`).join(', ');
  const values = [ctid, ...names.map((column) => row[column] ?? null)];
  return { text: `UPDATE ${name} SET ${set} WHERE ctid = $1::tid RETURNING xmin::text`, values };
}

export function deleteStatement({ name }: TableShape, ctid: string): Statement {
  return { text: `DELETE FROM ${name} WHERE ctid = $1::tid`, values: [ctid] };
}

/**
 * Finds rows as they are now, and locks them: ctid, xmin, the newest transaction, and the columns in order.
 * @param row values to find it by; null where they tell nothing
 */
export function findStatement(shape: TableShape, row: Values): Statement | null {
  const conditions: string[] = [];
  const values: string[] = [];
  const by = keyColumns(shape);
  const wholly = by.length === 0;
  for (const { name, operator } of wholly ? shape.columns : by) {
    const value = row[name];
    if (value === undefined || value === null) {
      if (!wholly) return null;
      // of a whole row NULLs are left out
      conditions.push(`${quoted(name)} IS NULL`);
    } else if (operator !== null) {
      values.push(value);
      conditions.push(`${quoted(name)} ${operator} $${values.length}`);
    }
  }
  const columns = shape.columns.map(({ name }) => `, ${quoted(name)}`).join('');
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  const text = `SELECT ctid, xmin, pg_snapshot_xmax(pg_current_snapshot())${columns} FROM ${shape.name}${where}`;
  return { text: `${text} LIMIT ${MOST_ALIKE} FOR UPDATE`, values };
}

/** Rows without a key are told apart by all they hold: so many are looked at. */
const MOST_ALIKE = 1000;

/** What a row is found by: what REPLICA IDENTITY names, else the primary key, else nothing but the whole row. */
export function keyColumns({ identity, key, primary }: TableShape): TableShape['key'] {
  return identity === 'f' || key.length === 0 ? primary : key;
}

/** The change as a statement that people can read. */
export function inWords(change: RowChange, shape: TableShape | null): string {
  if (change.op === 'truncate') {
    const names = change.tables.map(({ schema, table }) => `${schema}.${table}`).join(', ');
    return `TRUNCATE ${names}${change.restartIdentity ? ' RESTART IDENTITY' : ''}`;
  }
  const name = `${change.schema}.${change.table}`;
  if (change.op === 'insert') {
    return `INSERT INTO ${name} (${Object.keys(change.new).join(', ')}) VALUES (${Object.values(change.new).map(literal).join(', ')})`;
  }
  const identity = change.old ?? (change.op === 'update' ? change.new : {});
  const keys = shape === null ? [] : keyColumns(shape).map((column) => column.name);
  const found = Object.entries(identity).filter(([column]) => keys.length === 0 || keys.includes(column));
  const where = found.map(([column, value]) => `${column} ${value === null ? 'IS NULL' : `= ${literal(value)}`}`);
  const which = where.length === 0 ? '?' : where.join(' AND ');
  if (change.op === 'delete') return `DELETE FROM ${name} WHERE ${which}`;
  const assigned = Object.entries(change.new)
    .filter(([column, value]) => (change.old === null ? !keys.includes(column) : change.old[column] !== value))
    .map(([column, value]) => `${column} = ${literal(value)}`);
  return `UPDATE ${name} SET ${assigned.join(', ')} WHERE ${which}`;
}

function literal(value: string | null): string {
  if (value === null) return 'NULL';
  const shown = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return `'${shown.replaceAll("'", "''").replaceAll(/[\s\p{Cc}]+/gu, ' ')}'`;
}
