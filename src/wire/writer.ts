/** Builds messages. Those without content are constants, built once. */
import { SERVER } from './message-type.ts';

function empty(type: number): Buffer {
  return Buffer.from([type, 0, 0, 0, 4]);
}

export const PARSE_COMPLETE = empty(SERVER.PARSE_COMPLETE);
export const BIND_COMPLETE = empty(SERVER.BIND_COMPLETE);
export const CLOSE_COMPLETE = empty(SERVER.CLOSE_COMPLETE);
export const NO_DATA = empty(SERVER.NO_DATA);
export const PORTAL_SUSPENDED = empty(SERVER.PORTAL_SUSPENDED);
export const EMPTY_QUERY = empty(SERVER.EMPTY_QUERY);
export const SYNC = empty(0x53);
export const FLUSH = empty(0x48);
export const TERMINATE = empty(0x58);

/** @param body everything after the length */
export function message(type: number, body: Buffer): Buffer {
  const out = Buffer.allocUnsafe(5 + body.length);
  out[0] = type;
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

/** Zero-terminated strings, one after the other. */
export function cstrings(...values: string[]): Buffer {
  return Buffer.from(`${values.join('\0')}\0`, 'utf8');
}

function int32(value: number): Buffer {
  const out = Buffer.allocUnsafe(4);
  out.writeInt32BE(value);
  return out;
}

const READY: Record<number, Buffer> = {};
for (const status of [0x49, 0x54, 0x45]) READY[status] = Buffer.from([SERVER.READY, 0, 0, 0, 5, status]);

/** @param status one of STATUS */
export function readyForQuery(status: number): Buffer {
  return READY[status] as Buffer;
}

export function commandComplete(tag: string): Buffer {
  return message(SERVER.COMMAND_COMPLETE, cstrings(tag));
}

export function parameterStatus(name: string, value: string): Buffer {
  return message(SERVER.PARAMETER_STATUS, cstrings(name, value));
}

/** @param secret four bytes in protocol 3.0, up to 256 from 3.2 on */
export function backendKeyData(pid: number, secret: Buffer): Buffer {
  return message(SERVER.BACKEND_KEY_DATA, Buffer.concat([int32(pid), secret]));
}

export function authenticationOk(): Buffer {
  return message(SERVER.AUTHENTICATION, int32(0));
}

export function authenticationCleartext(): Buffer {
  return message(SERVER.AUTHENTICATION, int32(3));
}

/** @param salt four bytes */
export function authenticationMd5(salt: Buffer): Buffer {
  return message(SERVER.AUTHENTICATION, Buffer.concat([int32(5), salt]));
}

/** AuthenticationSASL with the mechanisms offered. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return message(SERVER.AUTHENTICATION, Buffer.concat([int32(10), cstrings(...mechanisms, '')]));
}

export function authenticationSaslContinue(data: string): Buffer {
  return message(SERVER.AUTHENTICATION, Buffer.concat([int32(11), Buffer.from(data)]));
}

export function authenticationSaslFinal(data: string): Buffer {
  return message(SERVER.AUTHENTICATION, Buffer.concat([int32(12), Buffer.from(data)]));
}

export type Severity = 'ERROR' | 'FATAL' | 'WARNING' | 'NOTICE' | 'INFO';

function fields(
  severity: Severity,
  sqlState: string,
  text: string,
  hint: string | null,
  detail: string | null,
  routine: string | null,
): Buffer {
  const parts = [`S${severity}`, `V${severity}`, `C${sqlState}`, `M${text}`];
  if (detail !== null) parts.push(`D${detail}`);
  if (hint !== null) parts.push(`H${hint}`);
  if (routine !== null) parts.push(`R${routine}`);
  return cstrings(...parts, '');
}

export function errorResponse(
  severity: Severity,
  sqlState: string,
  text: string,
  hint: string | null = null,
  detail: string | null = null,
  routine: string | null = null,
): Buffer {
  return message(SERVER.ERROR, fields(severity, sqlState, text, hint, detail, routine));
}

export function noticeResponse(severity: Severity, sqlState: string, text: string, hint: string | null = null): Buffer {
  return message(SERVER.NOTICE, fields(severity, sqlState, text, hint, null, null));
}

/** Types of the results of our own; `size` as in pg_type.typlen. */
export const RESULT_TYPES = {
  bool: { oid: 16, size: 1 },
  text: { oid: 25, size: -1 },
  int4: { oid: 23, size: 4 },
  int8: { oid: 20, size: 8 },
  numeric: { oid: 1700, size: -1 },
  float8: { oid: 701, size: 8 },
} as const;

export type ResultType = keyof typeof RESULT_TYPES;

/**
 * @param types all text when left out
 * @param formats 0 text, 1 binary, by column; all text when left out
 */
export function rowDescription(
  columns: readonly string[],
  types: readonly ResultType[] = [],
  formats: readonly number[] = [],
): Buffer {
  const parts: Buffer[] = [Buffer.from([columns.length >> 8, columns.length & 255])];
  columns.forEach((column, i) => {
    const { oid, size } = RESULT_TYPES[types[i] ?? 'text'];
    const rest = Buffer.alloc(18);
    rest.writeInt32BE(oid, 6);
    rest.writeInt16BE(size, 10);
    rest.writeInt32BE(-1, 12);
    rest.writeInt16BE(formats[i] ?? 0, 16);
    parts.push(cstrings(column), rest);
  });
  return message(SERVER.ROW_DESCRIPTION, Buffer.concat(parts));
}

/** @param values text, or bytes already in the column's format */
export function dataRow(values: readonly (string | Buffer | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.from([values.length >> 8, values.length & 255])];
  for (const value of values) {
    if (value === null) parts.push(int32(-1));
    else {
      const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
      parts.push(int32(bytes.length), bytes);
    }
  }
  return message(SERVER.DATA_ROW, Buffer.concat(parts));
}

/** @param types their OIDs */
export function parameterDescription(types: readonly number[]): Buffer {
  const count = Buffer.from([types.length >> 8, types.length & 255]);
  return message(SERVER.PARAMETER_DESCRIPTION, Buffer.concat([count, ...types.map(int32)]));
}

/** ParameterDescription of a statement without parameters. */
export const NO_PARAMETERS = parameterDescription([]);

export function query(text: string): Buffer {
  return message(0x51, cstrings(text));
}
