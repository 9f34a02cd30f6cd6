import type { RowChange, TableName, Values } from '../../replication/row-change.ts';
import { quoted } from './references.ts';
import type { TableShape } from './table-shape.ts';
import { valueIn } from './values.ts';

/** A statement with its parameters: values are texts, of the type that the column has. */
export type Statement = { readonly text: string; readonly values: readonly (string | null)[] };

/** Values in what people read are cut off after this many characters. */
const SHOWN = 60;

/** Never overwrites: a row that any unique constraint forbids is not inserted, and there is no answer. */
export function insertStatement({ name, columns }: TableShape, row: Values): Statement {
  const names = columns.filter((column) => Object.hasOwn(row, column.name)).map((column) => column.name);
  const values = names.map((column) => valueIn(row, column));
  const target = names.length === 0 ? 'DEFAULT VALUES' : `VALUES (${names.map((_, i) => `$${i + 1}`).join(', ')})`;
  const list = names.length === 0 ? '' : ` (${names.map(quoted).join(', ')}) OVERRIDING SYSTEM VALUE`;
  return { text: `INSERT INTO ${name}${list} ${target} ON CONFLICT DO NOTHING RETURNING xmin::text`, values };
}

/** Changes the row at `ctid`, which is locked. @param row the columns that get another value */
export function updateStatement({ name }: TableShape, row: Values, ctid: string): Statement {
  const names = Object.keys(row);
  const set = names.map((column, i) => `${quoted(column)} = $${i + 2}`).join(', ');
  const values = [ctid, ...names.map((column) => valueIn(row, column))];
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
    const value = valueIn(row, name);
    if (value === null) {
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

/** The change as a statement that people can read. @param set the columns that an update gives another value, where that is known */
export function inWords(change: RowChange, shape: TableShape | null, set: Values | null = null): string {
  if (change.op === 'truncate') {
    return `TRUNCATE ${change.tables.map(tableInWords).join(', ')}${change.restartIdentity ? ' RESTART IDENTITY' : ''}`;
  }
  const table = tableInWords(change);
  const written = (row: Values) =>
    Object.entries(row).filter(([column]) => shape === null || shape.columns.some(({ name }) => name === column));
  if (change.op === 'insert') {
    const columns = written(change.new);
    const names = columns.map(([column]) => named(column)).join(', ');
    return `INSERT INTO ${table} (${names}) VALUES (${columns.map(([, value]) => literal(value)).join(', ')})`;
  }
  const identity = change.old ?? (change.op === 'update' ? change.new : {});
  const keys = shape === null ? [] : keyColumns(shape).map((column) => column.name);
  const found = Object.entries(identity).filter(([column]) => keys.length === 0 || keys.includes(column));
  const where = found.map(
    ([column, value]) => `${named(column)} ${value === null ? 'IS NULL' : `= ${literal(value)}`}`,
  );
  const which = where.length === 0 ? '?' : where.join(' AND ');
  if (change.op === 'delete') return `DELETE FROM ${table} WHERE ${which}`;
  const { old } = change;
  const assigned = written(set ?? change.new)
    .filter(
      ([column, value]) =>
        set !== null || (old === null ? !keys.includes(column) : !Object.hasOwn(old, column) || old[column] !== value),
    )
    .map(([column, value]) => `${named(column)} = ${literal(value)}`);
  return `UPDATE ${table} SET ${assigned.join(', ')} WHERE ${which}`;
}

function tableInWords({ schema, table }: TableName): string {
  return `${named(schema)}.${named(table)}`;
}

function named(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoted(name);
}

function literal(value: string | null): string {
  if (value === null) return 'NULL';
  const shown = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return `'${shown.replaceAll("'", "''").replaceAll(/[\s\p{Cc}]+/gu, ' ')}'`;
}
