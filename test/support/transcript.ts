/** Messages as lines of text that are equal when the messages are: what two servers must differ in is named by order of appearance. */
import { createHash } from 'node:crypto';
import { type Message, parameterOf, valuesOf } from './raw-client.ts';

/** Objects of users have OIDs from here on, which depend on what was created before. */
const FIRST_USER_OID = 16384;
/** Values longer than this are told by length and digest. */
const LONG_BYTES = 120;
/** Where in its sources the server raised the error: Fairlead's own errors have none. */
const SOURCE_FIELDS = new Set(['F', 'L', 'R']);
/** Numbers in the details of a deadlock. */
const PROCESSES = /(process|transaction|relation|database) \d+/gi;

/** What one side of a comparison calls its objects. One for all sessions of a case. */
export class Names {
  readonly #oids = new Map<number, string>();

  oid(oid: number): string {
    if (oid < FIRST_USER_OID) return String(oid);
    const known = this.#oids.get(oid);
    if (known !== undefined) return known;
    const name = `user-oid-${this.#oids.size + 1}`;
    this.#oids.set(oid, name);
    return name;
  }
}

/** @param pid what the session was told in BackendKeyData */
export function lineOf(message: Message, names: Names, pid: number): string {
  const { type, body } = message;
  switch (type) {
    case 'E':
    case 'N':
      return `${type} ${fieldsOf(body)}`;
    case 'T':
      return `T ${columnsOf(body, names).join(', ')}`;
    case 'D':
      return `D ${valuesOf(body).map(valueText).join(' | ')}`;
    case 't':
      return `t ${oidsOf(body, names).join(' ')}`;
    case 'C':
      return `C ${body.toString('utf8', 0, body.length - 1)}`;
    case 'S':
      return `S ${parameterOf(message).join('=')}`;
    case 'Z':
      return `Z ${body.toString('latin1')}`;
    case 'A': {
      const [channel, payload] = body.toString('utf8', 4).split('\0');
      return `A from ${body.readInt32BE(0) === pid ? 'itself' : 'another'} on ${channel}: ${payload}`;
    }
    case 'V':
      return body.readInt32BE(0) === -1 ? 'V null' : `V ${valueText(body.subarray(4))}`;
    default:
      return body.length === 0 ? type : `${type} ${valueText(body)}`;
  }
}

function fieldsOf(body: Buffer): string {
  return body
    .toString('utf8')
    .split('\0')
    .filter((field) => field !== '' && !SOURCE_FIELDS.has(field[0] as string))
    .join(' · ')
    .replaceAll(PROCESSES, '$1 #');
}

function columnsOf(body: Buffer, names: Names): string[] {
  const columns: string[] = [];
  for (let i = 0, pos = 2; i < body.readUInt16BE(0); i++) {
    const end = body.indexOf(0, pos);
    const name = body.toString('utf8', pos, end);
    const table = names.oid(body.readUInt32BE(end + 1));
    const type = names.oid(body.readUInt32BE(end + 7));
    const numbers = [body.readInt16BE(end + 5), body.readInt16BE(end + 11), body.readInt32BE(end + 13)];
    columns.push(`${name}(${table}.${numbers[0]} ${type} ${numbers[1]} ${numbers[2]} f${body.readInt16BE(end + 17)})`);
    pos = end + 19;
  }
  return columns;
}

function oidsOf(body: Buffer, names: Names): string[] {
  return Array.from({ length: body.readUInt16BE(0) }, (_, i) => names.oid(body.readUInt32BE(2 + 4 * i)));
}

function valueText(value: Buffer | null): string {
  if (value === null) return 'null';
  if (value.length > LONG_BYTES) {
    return `(${value.length} bytes ${createHash('sha256').update(value).digest('hex').slice(0, 12)})`;
  }
  const text = value.toString('utf8');
  return /^[\x20-\x7e\u00a0-\uffef\n\t]*$/.test(text) && !text.includes('\ufffd')
    ? JSON.stringify(text)
    : `x${value.toString('hex')}`;
}
