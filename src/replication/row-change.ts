import { splitNames } from './commit-decoder.ts';

/** Columns by name; a value is the text that its type prints, null is NULL. */
export type Values = Readonly<Record<string, string | null>>;
export type TableName = { readonly schema: string; readonly table: string };

/** One change of a row as the stream told it. */
export type RowChange =
  | ({ readonly op: 'insert'; readonly new: Values } & TableName)
  | ({
      readonly op: 'update';
      /** By REPLICA IDENTITY: the key where it was changed, or all that was not NULL; null: the key is as in `new`. */
      readonly old: Values | null;
      readonly new: Values;
      /** Columns of large values that were not touched: the stream does not repeat them. */
      readonly unchanged?: readonly string[];
    } & TableName)
  /** `old` by REPLICA IDENTITY; null: the table has none. */
  | ({ readonly op: 'delete'; readonly old: Values | null } & TableName)
  | {
      readonly op: 'truncate';
      readonly tables: readonly TableName[];
      readonly restartIdentity: boolean;
    };

const PREFIX = 'table ';
const OLD = ' old-key:';
const NEW = ' new-tuple:';
const NO_TUPLE = ' (no-tuple-data)';
const TOAST = 'unchanged-toast-datum';

/**
 * Reads a message of `test_decoding` about rows (tuple_to_stringinfo in contrib/test_decoding/test_decoding.c).
 * @throws SyntaxError when it is not of that form
 */
export function parseChange(text: string): RowChange {
  const end = endOfNames(text);
  const names = splitNames(text.slice(PREFIX.length, end)).map(tableName);
  const body = text.slice(end + 1);
  const [first] = names;
  if (first === undefined) throw new SyntaxError(`no table in ${text.slice(0, 80)}`);
  if (body.startsWith(' INSERT:')) {
    return { op: 'insert', ...first, new: new TupleReader(body, ' INSERT:'.length).values() };
  }
  if (body.startsWith(' UPDATE:')) return { op: 'update', ...first, ...updated(body) };
  if (body.startsWith(' DELETE:')) {
    const at = ' DELETE:'.length;
    return { op: 'delete', ...first, old: body.startsWith(NO_TUPLE, at) ? null : new TupleReader(body, at).values() };
  }
  if (body.startsWith(' TRUNCATE:')) {
    return { op: 'truncate', tables: names, restartIdentity: / restart_seqs\b/.test(body) };
  }
  throw new SyntaxError(`not a change of rows: ${text.slice(0, 80)}`);
}

function updated(body: string): { old: Values | null; new: Values; unchanged?: readonly string[] } {
  const at = ' UPDATE:'.length;
  let old: Values | null = null;
  let reader = new TupleReader(body, at);
  if (body.startsWith(OLD, at)) {
    const before = new TupleReader(body, at + OLD.length);
    old = before.values();
    reader = new TupleReader(body, before.at + NEW.length);
  }
  const values = reader.values();
  return { old, new: values, ...(reader.unchanged.length === 0 ? {} : { unchanged: reader.unchanged }) };
}

/** The colon behind the names; quoted ones may hold one themselves. */
function endOfNames(text: string): number {
  for (let at = PREFIX.length; at < text.length; at++) {
    if (text[at] === '"') at = endOfQuoted(text, at, '"') - 1;
    else if (text[at] === ':') return at;
  }
  throw new SyntaxError(`no table in ${text.slice(0, 80)}`);
}

/** `public."my table"` */
function tableName(text: string): TableName {
  const [schema, rest] = identifier(text, 0);
  if (text[rest] !== '.') throw new SyntaxError(`not a qualified name: ${text}`);
  return { schema, table: identifier(text, rest + 1)[0] };
}

/** An identifier as quote_identifier prints it. @returns it, and where it ends */
function identifier(text: string, from: number): [string, number] {
  if (text[from] !== '"') {
    let end = from;
    while (end < text.length && !'.['.includes(text[end] as string)) end++;
    return [text.slice(from, end), end];
  }
  const end = endOfQuoted(text, from, '"');
  return [text.slice(from + 1, end - 1).replaceAll('""', '"'), end];
}

/** Behind the closing quote of what is quoted from `from` on; a doubled one stands for itself. */
function endOfQuoted(text: string, from: number, quote: string): number {
  for (let at = from + 1; ; at += 2) {
    at = text.indexOf(quote, at);
    if (at === -1) throw new SyntaxError(`a quote is not closed: ${text.slice(from, from + 80)}`);
    if (text[at + 1] !== quote) return at + 1;
  }
}

/** Reads ` name[type]:value` until something else comes. */
class TupleReader {
  readonly unchanged: string[] = [];
  at: number;
  readonly #text: string;

  constructor(text: string, at: number) {
    this.#text = text;
    this.at = at;
  }

  values(): Values {
    const text = this.#text;
    const values: Record<string, string | null> = {};
    // ` new-tuple:` is no column: no name has a bare hyphen
    while (this.at < text.length && !text.startsWith(NEW, this.at)) {
      if (text[this.at] !== ' ') throw new SyntaxError(`no column at ${text.slice(this.at, this.at + 80)}`);
      const [name, end] = identifier(text, this.at + 1);
      this.#skipType(end);
      if (text.startsWith(TOAST, this.at)) {
        this.unchanged.push(name);
        this.at += TOAST.length;
      } else defineValue(values, name, this.#value());
    }
    return values;
  }

  /** `[integer]:`, `[integer[]]:`, `[public."odd]type"]:` */
  #skipType(from: number): void {
    const text = this.#text;
    let depth = 0;
    for (let at = from; at < text.length; at++) {
      const char = text[at];
      if (char === '"') at = endOfQuoted(text, at, '"') - 1;
      else if (char === '[') depth++;
      else if (char === ']') depth--;
      if (depth > 0) continue;
      if (text[at + 1] !== ':') break;
      this.at = at + 2;
      return;
    }
    throw new SyntaxError(`no type at ${text.slice(from, from + 80)}`);
  }

  #value(): string | null {
    const text = this.#text;
    const bits = text.startsWith("B'", this.at) ? 1 : 0;
    const from = this.at + bits;
    if (text[from] === "'") {
      this.at = endOfQuoted(text, from, "'");
      return text.slice(from + 1, this.at - 1).replaceAll("''", "'");
    }
    const space = text.indexOf(' ', from);
    this.at = space === -1 ? text.length : space;
    const word = text.slice(from, this.at);
    // a literal, where everything else is as its type prints it
    if (word === 'true') return 't';
    if (word === 'false') return 'f';
    return word === 'null' ? null : word;
  }
}

/** A column may be called `__proto__`. */
function defineValue(values: Record<string, string | null>, name: string, value: string | null): void {
  Object.defineProperty(values, name, { value, enumerable: true, writable: true, configurable: true });
}
