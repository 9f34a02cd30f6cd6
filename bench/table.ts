/** Markdown as the report is made of. */

/** Of the cells of a table that have no number. */
export const NONE = '–';

/** Numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...body.map(line)];
}

/** Three digits that count, and all of those before the point. */
export function digits(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return NONE;
  const places = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 3));
}

/** Of two measures. */
export function ratio(a: number | null, b: number | null): string {
  return a === null || b === null || !(b > 0) ? NONE : (a / b).toFixed(2);
}
