import { dataRow, noticeResponse, rowDescription } from '../wire/writer.ts';
import type { Outcome } from './command.ts';
import { type Cell, type Columns, encodeCell, type RowOf, spreadFormats } from './table.ts';

/** @param formats 0 text, 1 binary, by column; all text when left out */
export function describeRows(columns: Columns, formats: readonly number[] = []): Buffer {
  return rowDescription(Object.keys(columns), Object.values(columns), formats);
}

/** @param formats as a Bind has them: none, one for all, or one each */
export function encodeRows(columns: Columns, rows: readonly RowOf<Columns>[], formats: readonly number[] = []): Buffer {
  const each = spreadFormats(formats, Object.keys(columns).length);
  const fields = Object.entries(columns);
  return Buffer.concat(
    rows.map((row) => dataRow(fields.map(([name, type], i) => encodeCell(row[name] as Cell, type, each[i] ?? 0)))),
  );
}

export function encodeNotices({ notices }: Outcome): Buffer {
  return Buffer.concat(notices.map((text) => noticeResponse('NOTICE', '00000', text)));
}
