/** Results of commands: declared columns, rows by column name. */
import type { ResultType } from '../wire/writer.ts';

export type Columns = Readonly<Record<string, ResultType>>;

/** Numbers of `int8` columns are cut to whole ones. */
export type Cell = string | number | bigint | null;

export type RowOf<C extends Columns> = { readonly [K in keyof C]: Cell };

/** As it goes out: text, or PostgreSQL's binary format where the client asked for it. */
export function encodeCell(cell: Cell, type: ResultType, format: number): string | Buffer | null {
  if (cell === null) return null;
  if (type === 'text') return String(cell);
  if (type === 'float8') {
    if (format === 0) return String(cell);
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeDoubleBE(Number(cell));
    return bytes;
  }
  const whole = typeof cell === 'number' ? BigInt(Math.trunc(cell)) : BigInt(cell);
  if (format === 0) return whole.toString();
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(whole);
  return bytes;
}

/** One format code for each column, from what a Bind carries: none, one for all, or one each. */
export function spreadFormats(formats: readonly number[], columns: number): readonly number[] {
  if (formats.length === 1) return new Array<number>(columns).fill(formats[0] as number);
  return formats.length === 0 ? new Array<number>(columns).fill(0) : formats;
}
