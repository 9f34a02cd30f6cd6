/** Results of commands: declared columns, rows by column name. */
import type { ResultType } from '../wire/writer.ts';

export type Columns = Readonly<Record<string, ResultType>>;

/** Numbers of `int4`, `int8` and `numeric` columns are cut to whole ones. */
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
  if (type === 'numeric') return binaryNumeric(whole);
  if (type === 'int4') {
    const four = Buffer.allocUnsafe(4);
    four.writeInt32BE(Number(whole));
    return four;
  }
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(whole);
  return bytes;
}

/** As numeric_send has it: digits to the base of 10000, then weight, sign, scale. */
function binaryNumeric(whole: bigint): Buffer {
  const digits: number[] = [];
  for (let rest = whole < 0n ? -whole : whole; rest > 0n; rest /= 10_000n) digits.unshift(Number(rest % 10_000n));
  const weight = digits.length - 1;
  while (digits.at(-1) === 0) digits.pop();
  const out = Buffer.alloc(8 + 2 * digits.length);
  out.writeInt16BE(digits.length, 0);
  out.writeInt16BE(Math.max(0, weight), 2);
  out.writeUInt16BE(whole < 0n ? 0x4000 : 0, 4);
  digits.forEach((digit, i) => {
    out.writeInt16BE(digit, 8 + 2 * i);
  });
  return out;
}

/** One format code for each column, from what a Bind carries: none, one for all, or one each. */
export function spreadFormats(formats: readonly number[], columns: number): readonly number[] {
  if (formats.length === 1) return new Array<number>(columns).fill(formats[0] as number);
  return formats.length === 0 ? new Array<number>(columns).fill(0) : formats;
}
