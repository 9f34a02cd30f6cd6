import type pg from 'pg';
import type { RowChange, Values } from '../../replication/row-change.ts';
import type { References } from './references.ts';
import { writtenAfter } from './row-age.ts';
import {
  deleteStatement,
  findStatement,
  insertStatement,
  keyColumns,
  type Statement,
  updateStatement,
} from './row-statements.ts';
import type { SkippedRows } from './skipped-rows.ts';
import type { TableShape, TableShapes } from './table-shape.ts';
import { valueIn } from './values.ts';

export type ReplayContext = {
  readonly client: pg.Client;
  readonly shapes: TableShapes;
  readonly skipped: SkippedRows;
  /** Of the open transaction; null where PostgreSQL checks them itself, because its triggers fire. */
  readonly references: References | null;
  /** Of the first transaction of the new primary, 64 bits. */
  readonly firstXid: bigint;
  /** Ids, as rows have them, of the transactions that replayed this journal: what they wrote is what the next one builds on. */
  readonly ours: Set<string>;
};

/** `there`: the row is as the change would have made it, by somebody else. */
export type RowOutcome =
  | {
      readonly kind: 'done' | 'there';
      readonly shape: TableShape | null;
      /** Columns that an update gave another value. */
      readonly set?: Values;
    }
  | { readonly kind: 'conflict'; readonly shape: TableShape | null; readonly why: string };

type Row = { readonly ctid: string; readonly values: Values; readonly foreign: boolean };

const GONE = 'the row is not there any more';
const CHANGED = 'the row was changed after the failover';
const NOBODY_KNOWS = 'the table has no REPLICA IDENTITY: nobody knows which row';
const OTHER_KEY = 'what is known of the row does not name it by the key that the table has now';

/** Replays one change in the open transaction, or says why not. @throws what the server answers */
export async function replayRow(change: RowChange, context: ReplayContext): Promise<RowOutcome> {
  if (change.op === 'truncate') return truncate(change, context);
  const shape = await context.shapes.of(change);
  const conflict = (why: string): RowOutcome => ({ kind: 'conflict', shape, why });
  if (shape === null) return conflict('there is no such table');
  const obstacle = unfit(shape, change, context) ?? context.skipped.obstacle(change, shape);
  if (obstacle !== null) return conflict(obstacle);
  switch (change.op) {
    case 'insert':
      return insert(shape, change.new, context);
    case 'update':
      return update(shape, change, context);
    case 'delete':
      return remove(shape, change.old, context);
    default:
      return change satisfies never;
  }
}

function unfit(shape: TableShape, change: Exclude<RowChange, { op: 'truncate' }>, { references }: ReplayContext) {
  if (shape.kind === 'm') return 'it is a materialized view: refresh it';
  if (shape.kind !== 'r') return 'it is not a table that has rows';
  const missing = Object.keys(change.op === 'delete' ? (change.old ?? {}) : change.new).find(
    (name) => !shape.known.has(name),
  );
  if (missing !== undefined) return `there is no column ${missing}`;
  // neither ON CONFLICT nor a session without triggers checks it
  if (shape.deferrable) return 'it has a deferrable unique or exclusion constraint: replay its rows by hand';
  if (references !== null) return null;
  const fires = shape.triggers
    ? 'its triggers'
    : change.op !== 'insert' && shape.cascades
      ? 'cascades to other tables'
      : null;
  if (fires === null) return null;
  return `${fires} would repeat what the stream tells: the role must be allowed to set session_replication_role`;
}

async function insert(shape: TableShape, row: Values, context: ReplayContext): Promise<RowOutcome> {
  const { references } = context;
  const written = await run(context, insertStatement(shape, row));
  if (written) {
    references?.written(shape, row);
    return { kind: 'done', shape };
  }
  const [there] = await find(shape, row, context);
  if (there === undefined) return { kind: 'conflict', shape, why: 'another row has a value that must be unique' };
  if (same(shape, there.values, row)) return { kind: 'there', shape };
  return { kind: 'conflict', shape, why: 'another row has this key' };
}

async function update(
  shape: TableShape,
  change: Extract<RowChange, { op: 'update' }>,
  context: ReplayContext,
): Promise<RowOutcome> {
  const found = await original(shape, change.old ?? change.new, change.old !== null, context);
  if (typeof found === 'string') {
    // a change of the key that somebody else has made too
    const known = change.old !== null && found !== NOBODY_KNOWS && found !== OTHER_KEY;
    const [moved] = known ? await find(shape, change.new, context) : [];
    const there = moved !== undefined && same(shape, moved.values, change.new);
    return there ? { kind: 'there', shape } : { kind: 'conflict', shape, why: found };
  }
  if (same(shape, found.values, change.new)) return { kind: found.foreign ? 'there' : 'done', shape };
  if (found.foreign && !wholeRow(shape, change.old)) return { kind: 'conflict', shape, why: CHANGED };
  const writable = shape.columns.map(({ name }) => name).filter((name) => Object.hasOwn(change.new, name));
  const differing = writable.filter((name) => change.new[name] !== valueIn(found.values, name));
  const set = Object.fromEntries(differing.map((name) => [name, change.new[name] ?? null]));
  await run(context, updateStatement(shape, set, found.ctid));
  context.references?.replaced(shape, found.values);
  context.references?.written(shape, { ...found.values, ...set });
  return { kind: 'done', shape, set };
}

async function remove(shape: TableShape, old: Values | null, context: ReplayContext): Promise<RowOutcome> {
  if (old === null) return { kind: 'conflict', shape, why: NOBODY_KNOWS };
  const found = await original(shape, old, true, context);
  // a row without a key may be there, looking different
  if (found === GONE && keyColumns(shape).length > 0) return { kind: 'there', shape };
  if (typeof found === 'string') return { kind: 'conflict', shape, why: found };
  if (found.foreign && !wholeRow(shape, old)) return { kind: 'conflict', shape, why: CHANGED };
  await run(context, deleteStatement(shape, found.ctid));
  context.references?.replaced(shape, found.values);
  return { kind: 'done', shape };
}

/** REPLICA IDENTITY FULL: the stream told all of the row as it was. */
function wholeRow({ identity }: TableShape, old: Values | null): boolean {
  return identity === 'f' && old !== null;
}

/** The row that a change was made to, as it is now; else what speaks against it. @param told `row` is the row before the change */
async function original(shape: TableShape, row: Values, told: boolean, context: ReplayContext): Promise<Row | string> {
  // a primary key that is not the identity: that no old one was told does not mean that it stayed
  const named = shape.identity === 'f' ? told || shape.primary.length > 0 : shape.key.length > 0;
  if (!named) return NOBODY_KNOWS;
  if (findStatement(shape, row) === null) return OTHER_KEY;
  const rows = await find(shape, row, context);
  if (rows.length === 0) return GONE;
  if (!told || shape.identity !== 'f') return rows[0] as Row;
  // of a whole row NULLs are left out
  const whole = Object.fromEntries(shape.columns.map(({ name }) => [name, valueIn(row, name)]));
  return rows.find(({ values }) => same(shape, values, whole)) ?? 'the row differs from what the lost transaction saw';
}

/** Every column that is told has the value that is told. */
function same({ columns }: TableShape, values: Values, told: Values): boolean {
  return columns.every(({ name }) => !Object.hasOwn(told, name) || valueIn(values, name) === told[name]);
}

async function find(
  shape: TableShape,
  row: Values,
  { client, firstXid, ours }: ReplayContext,
): Promise<readonly Row[]> {
  const statement = findStatement(shape, row);
  if (statement === null) return [];
  const { rows } = await client.query<(string | null)[]>({
    ...{ text: statement.text, values: [...statement.values], rowMode: 'array' },
  });
  return rows.map(([ctid, xmin, nextXid, ...values]) => ({
    ctid: ctid as string,
    values: Object.fromEntries(shape.columns.map(({ name }, i) => [name, values[i] ?? null])),
    foreign: !ours.has(xmin as string) && writtenAfter(firstXid, Number(xmin), BigInt(nextXid as string)),
  }));
}

/** @returns whether a row was written */
async function run({ client, ours }: ReplayContext, { text, values }: Statement): Promise<boolean> {
  const { rows } = await client.query<{ xmin: string }>(text, [...values]);
  const [row] = rows;
  if (row !== undefined) ours.add(row.xmin);
  return row !== undefined;
}

/** Only what the lost transaction can have seen: with a row that is newer than the fork nothing is truncated. */
async function truncate(
  { tables, restartIdentity }: Extract<RowChange, { op: 'truncate' }>,
  { client, shapes, firstXid, ours }: ReplayContext,
): Promise<RowOutcome> {
  const names: string[] = [];
  for (const table of tables) {
    const shape = await shapes.of(table);
    const conflict = (why: string): RowOutcome => ({
      kind: 'conflict',
      shape,
      why: `${table.schema}.${table.table}: ${why}`,
    });
    if (shape === null) return conflict('there is no such table');
    await client.query(`LOCK TABLE ${shape.name} IN ACCESS EXCLUSIVE MODE`);
    const { rows } = await client.query<{ xmin: string; next: string }>(
      `SELECT DISTINCT xmin::text, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM ${shape.name}`,
    );
    const newer = rows.some(({ xmin, next }) => !ours.has(xmin) && writtenAfter(firstXid, Number(xmin), BigInt(next)));
    if (newer) return conflict('it has rows that were written after the failover');
    names.push(shape.name);
  }
  await client.query(`TRUNCATE ${names.join(', ')}${restartIdentity ? ' RESTART IDENTITY' : ''}`);
  return { kind: 'done', shape: null };
}
