/** What a statement takes and answers, as numbers to compare: DDL changes it, and a client knows only what a Describe once told it. */
import { stringEnd } from '../wire/fields.ts';
import { SERVER } from '../wire/message-type.ts';

/** Null: not told. */
export type Shape = {
  parameters: number | null;
  row: number | null;
};

export function unknownShape(): Shape {
  return { parameters: null, row: null };
}

/** True when `told` holds of what is `here`, false when not, null when it is not known. */
export function agrees(told: Shape, here: Shape | null): boolean | null {
  const parameters = same(told.parameters, here?.parameters ?? null);
  const row = same(told.row, here?.row ?? null);
  if (parameters === false || row === false) return false;
  return parameters && row;
}

function same(told: number | null, here: number | null): boolean | null {
  if (told === null || told === here) return true;
  return here === null ? null : false;
}

/** Takes from a reply to Describe what it tells. @param start at the type byte */
export function learnShape(shape: Shape, type: number, buffer: Buffer, start: number, end: number): void {
  if (type === SERVER.PARAMETER_DESCRIPTION) shape.parameters = digest(START, buffer, start + 5, end);
  else if (type === SERVER.NO_DATA) shape.row = 0;
  else if (type === SERVER.ROW_DESCRIPTION) shape.row = rowDigest(buffer, start, end);
}

/**
 * Names, types and type modifiers, as PostgreSQL compares them (equalTupleDescs). The table that a column comes from may be another one, and the
 * formats are the portal's.
 */
function rowDigest(buffer: Buffer, start: number, end: number): number {
  let hash = START;
  for (let pos = start + 7; pos < end; ) {
    const nameEnd = stringEnd(buffer, pos, end);
    if (nameEnd === -1) break;
    hash = digest(hash, buffer, pos, nameEnd + 1);
    // table, column: 6 bytes; type, size, modifier: 10; format: 2
    hash = digest(hash, buffer, nameEnd + 7, nameEnd + 17);
    pos = nameEnd + 19;
  }
  return hash;
}

const START = 0x811c9dc5;

/** FNV-1a, kept within 48 bits by two lanes. */
function digest(from: number, buffer: Buffer, start: number, end: number): number {
  let low = from >>> 0;
  let high = Math.floor(from / 0x1_0000_0000);
  for (let i = start; i < end; i++) {
    const byte = buffer[i] as number;
    low = Math.imul(low ^ byte, 0x01000193) >>> 0;
    high = (high * 31 + byte) & 0xffff;
  }
  return high * 0x1_0000_0000 + low;
}
