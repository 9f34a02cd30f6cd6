/** Reads the content of single messages. */

/** Index of the zero byte that ends the string at `pos`, or -1 when there is none before `end`. */
export function stringEnd(buffer: Buffer, pos: number, end: number): number {
  const at = buffer.indexOf(0, pos);
  return at === -1 || at >= end ? -1 : at;
}

/** Fields of an ErrorResponse or NoticeResponse by their one-letter codes. */
export type ErrorFields = {
  /** Severity in English (`V`, else `S`). */
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
  /** Empty when there is none. */
  readonly detail: string;
};

/** @param start at the type byte */
export function readErrorFields(buffer: Buffer, start: number, end: number): ErrorFields {
  let severity = '';
  let localized = '';
  let sqlState = '';
  let message = '';
  let detail = '';
  let pos = start + 5;
  while (pos < end && buffer[pos] !== 0) {
    const code = buffer[pos] as number;
    const stop = stringEnd(buffer, pos + 1, end);
    if (stop === -1) break;
    if (code === 0x56) severity = buffer.toString('latin1', pos + 1, stop);
    else if (code === 0x53) localized = buffer.toString('latin1', pos + 1, stop);
    else if (code === 0x43) sqlState = buffer.toString('latin1', pos + 1, stop);
    else if (code === 0x4d) message = buffer.toString('utf8', pos + 1, stop);
    else if (code === 0x44) detail = buffer.toString('utf8', pos + 1, stop);
    pos = stop + 1;
  }
  return { severity: severity || localized, sqlState, message, detail };
}

/** Name and value of a ParameterStatus. */
export function readParameterStatus(buffer: Buffer, start: number, end: number): [name: string, value: string] {
  const stop = stringEnd(buffer, start + 5, end);
  if (stop === -1) return ['', ''];
  const last = stringEnd(buffer, stop + 1, end);
  return [buffer.toString('utf8', start + 5, stop), buffer.toString('utf8', stop + 1, last === -1 ? end : last)];
}

/** Text values of a DataRow, all columns in text format. */
export function readDataRow(buffer: Buffer, start: number): (string | null)[] {
  const count = buffer.readUInt16BE(start + 5);
  const values: (string | null)[] = [];
  let pos = start + 7;
  for (let i = 0; i < count; i++) {
    const size = buffer.readInt32BE(pos);
    pos += 4;
    values.push(size === -1 ? null : buffer.toString('utf8', pos, pos + size));
    if (size > 0) pos += size;
  }
  return values;
}
