import { scanComment, scanDollarQuote, scanString } from './literal-scan.ts';

/**
 * The literal-insensitive key of a SQL text, made in one pass over its bytes without allocating.
 *
 * The key is the text without comments, with runs of white space as one space, and, where literals cannot change
 * the verdict, with each literal replaced by one byte that tells its kind. Whatever is analysed later is rendered
 * from the key alone (`toSql`), so two texts with one key cannot get two verdicts.
 *
 * The rules are those of PostgreSQL's `src/backend/parser/scan.l`. The one thing a text does not tell is
 * `standard_conforming_strings`: where its value would move the end of a literal, the key is marked `ambiguous`.
 */
export const INT = 0x01;
/** An integer whose type depends on its value: int4, int8 or numeric. */
export const BIG_INT = 0x02;
export const NUMERIC = 0x03;
export const STRING = 0x04;
export const BIT_STRING = 0x05;
/** `IN (…)` of literals and parameters only, whatever their number. */
export const LIST = 0x06;
const EXACT = 0x0e;
const AMBIGUOUS = 0x0f;

/** A longer text gets no key; it is judged by its first word. */
export const MAX_TEXT_BYTES = 1024 * 1024;

/** Kinds of bytes; 0 is a symbol. */
const SPACE = 1;
const WORD = 2;
const DIGIT = 3;
const CONTROL = 4;

const KIND = new Uint8Array(256);
/** Bytes that go on inside an identifier: letters, digits, `_`, `$`, everything above ASCII. */
const WORD_PART = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  const letter = (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || c === 0x5f || c >= 0x80;
  const digit = c >= 0x30 && c <= 0x39;
  if (c === 0x20 || (c >= 0x09 && c <= 0x0d)) KIND[c] = SPACE;
  else if (letter) KIND[c] = WORD;
  else if (digit) KIND[c] = DIGIT;
  else if (c < 0x20) KIND[c] = CONTROL;
  WORD_PART[c] = letter || digit || c === 0x24 ? 1 : 0;
}

/** First words after which literals are data. After any other (SET, DO, CREATE, PREPARE, …) they are kept. */
const COLLAPSING = new Set(
  'select insert update delete with values table merge explain call execute declare fetch move notify'.split(' '),
);
const IN_WORD = Buffer.from('in');
const VALUES_WORD = Buffer.from('values');
const SET_CONFIG_WORD = Buffer.from('set_config');

/** What the last token was, as far as it decides what the next one means. */
const T_OTHER = 0;
const T_IN = 1;
const T_VALUES = 2;
const T_ROW = 3;
const T_ROW_COMMA = 4;
const T_SET_CONFIG = 5;
const T_SET_CONFIG_PAREN = 6;
/** After a point any word is a name: `x.in (1, 2)` is a call. */
const T_DOT = 7;

export class LiteralKey {
  /** The key is `bytes[0, length)`; overwritten by the next `build`. */
  bytes: Buffer = Buffer.allocUnsafe(4096);
  length = 0;
  /** 32 bits of FNV-1a. Equal hashes do not mean equal keys. */
  hash = 0;
  /** Literals are part of the key: there may be one key per value. */
  keptLiterals = false;
  ambiguous = false;
  /** A byte range of the last `fairlead:` hint's comment in the source text; -1 without one. */
  hintStart = -1;
  hintEnd = -1;

  /** False when the text has no key: unterminated, control bytes outside of literals, or too long. */
  build(text: Buffer, start: number, end: number): boolean {
    if (end - start > MAX_TEXT_BYTES) return false;
    if (this.bytes.length < end - start + 4) this.bytes = Buffer.allocUnsafe((end - start) * 2 + 4);
    const result = this.#lex(text, start, end, false);
    if (result !== 'exact') return result;
    return this.#lex(text, start, end, true) === true;
  }

  equals(other: Buffer): boolean {
    const length = this.length;
    if (other.length !== length) return false;
    const bytes = this.bytes;
    for (let i = 0; i < length; i++) if (bytes[i] !== other[i]) return false;
    return true;
  }

  copy(): Buffer {
    return Buffer.from(this.bytes.subarray(0, this.length));
  }

  #lex(text: Buffer, start: number, end: number, exact: boolean): boolean | 'exact' {
    const out = this.bytes;
    let n = 0;
    let i = start;
    let space = false;
    let last = T_OTHER;
    let statementStart = true;
    let depth = 0;
    let listAt = -1; // key position of the `(` of an IN list that is all literals so far
    let rowAt = -1; // key position of the `(` of the current VALUES row
    let rowDepth = -1;
    let previousRowAt = -1;
    let previousRowEnd = -1;
    this.keptLiterals = false;
    this.ambiguous = false;
    this.hintStart = -1;
    if (exact) out[n++] = EXACT;
    while (i < end) {
      const c = text[i] as number;
      const kind = KIND[c] as number;
      if (kind === SPACE) {
        space = true;
        i++;
        continue;
      }
      const next = i + 1 < end ? (text[i + 1] as number) : 0;
      if ((c === 0x2d && next === 0x2d) || (c === 0x2f && next === 0x2a)) {
        const stop = scanComment(text, i, end);
        if (stop === -1) return false;
        space = true;
        if (next === 0x2a && isHint(text, i + 2, stop)) {
          this.hintStart = i;
          this.hintEnd = stop;
          listAt = -1;
          for (let j = i; j < stop; j++) {
            out[n++] = Math.max(text[j] as number, 0x20);
          }
        }
        i = stop;
        continue;
      }
      if (space) {
        space = false;
        if (n > 0) out[n++] = 0x20;
      }

      // Where does a literal begin here, and of which kind?
      let literal = 0;
      let stop = i;
      if (kind === DIGIT || (c === 0x2e && KIND[next] === DIGIT)) {
        stop = scanNumber(text, i, end);
        literal = numberKind(text, i, stop);
      } else if (c === 0x27) {
        stop = scanString(text, i, end, false);
        literal = STRING;
      } else if (c === 0x24) {
        if (KIND[next] !== DIGIT) {
          stop = scanDollarQuote(text, i, end);
          if (stop === -2) return false;
          if (stop > i) literal = STRING;
        }
      } else if (kind === WORD && (next === 0x27 || next === 0x26)) {
        const lower = c | 0x20;
        if (next === 0x26) {
          const quote = i + 2 < end && lower === 0x75 ? text[i + 2] : 0;
          // U&"…": an identifier with escapes, spelled out for the parser only.
          if (quote === 0x22 && !exact) return 'exact';
          if (quote === 0x27) {
            stop = scanString(text, i + 2, end, false);
            literal = STRING;
          }
        } else if (lower === 0x65) {
          stop = scanString(text, i + 1, end, true);
          literal = STRING;
        } else if (lower === 0x62 || lower === 0x78) {
          stop = scanString(text, i + 1, end, false);
          literal = BIT_STRING;
        } else if (lower === 0x6e) {
          stop = scanString(text, i + 1, end, false);
          literal = STRING;
        }
      }

      if (literal !== 0) {
        if (stop === -1) return false;
        if (stop < 0) {
          stop = -stop;
          this.ambiguous = true;
        }
        if (exact || last === T_SET_CONFIG_PAREN) {
          if (last === T_SET_CONFIG_PAREN && !exact && (literal !== STRING || c !== 0x27)) return 'exact';
          for (let j = i; j < stop; j++) {
            const b = text[j] as number;
            if (b === 0 || (b < 0x20 && !exact)) return false;
            out[n++] = b;
          }
          if (literal >= STRING || last === T_SET_CONFIG_PAREN) this.keptLiterals = true;
          listAt = -1;
        } else {
          out[n++] = literal;
        }
        last = T_OTHER;
        statementStart = false;
        i = stop;
        continue;
      }

      if (kind === WORD) {
        stop = i + 1;
        while (stop < end && WORD_PART[text[stop] as number] === 1) stop++;
        const size = stop - i;
        if (statementStart) {
          statementStart = false;
          if (!exact && !isCollapsing(text, i, stop)) return 'exact';
        }
        if (last === T_SET_CONFIG_PAREN && !exact) return 'exact';
        const named = last === T_DOT;
        if (size === 2 && !named && isWord(text, i, stop, IN_WORD)) last = T_IN;
        else if (size === 6 && !named && isWord(text, i, stop, VALUES_WORD)) last = T_VALUES;
        else if (size === 10 && isWord(text, i, stop, SET_CONFIG_WORD)) last = T_SET_CONFIG;
        else last = T_OTHER;
        listAt = -1;
        while (i < stop) out[n++] = text[i++] as number;
        continue;
      }

      if (c === 0x22) {
        stop = i + 1;
        for (; ; stop++) {
          if (stop >= end) return false;
          const b = text[stop] as number;
          if (b < 0x20) return false;
          if (b !== 0x22) continue;
          if (stop + 1 < end && text[stop + 1] === 0x22) stop++;
          else break;
        }
        stop++;
        last = stop - i === 12 && isWord(text, i + 1, stop - 1, SET_CONFIG_WORD) ? T_SET_CONFIG : T_OTHER;
        listAt = -1;
        statementStart = false;
        while (i < stop) out[n++] = text[i++] as number;
        continue;
      }

      if (kind === CONTROL) return false;
      if (c === 0x28) {
        depth++;
        if (last === T_IN) listAt = exact ? -1 : n;
        else listAt = -1;
        if (last === T_VALUES) {
          rowAt = n;
          rowDepth = depth;
          previousRowAt = -1;
        } else if (last === T_ROW_COMMA) {
          rowAt = n;
          rowDepth = depth;
        }
        last = last === T_SET_CONFIG ? T_SET_CONFIG_PAREN : T_OTHER;
        out[n++] = c;
        i++;
        continue; // `(SELECT …)` still begins a statement
      }
      if (last === T_SET_CONFIG_PAREN && !exact) return 'exact';
      if (c === 0x29) {
        if (listAt !== -1) {
          n = listAt;
          out[n++] = LIST;
          listAt = -1;
          last = T_OTHER;
        } else if (depth === rowDepth && rowAt !== -1) {
          out[n++] = c;
          if (previousRowAt !== -1 && sameBytes(out, previousRowAt, previousRowEnd, rowAt, n)) {
            n = previousRowEnd;
          } else {
            previousRowAt = rowAt;
            previousRowEnd = n;
          }
          rowAt = -1;
          last = T_ROW;
        } else {
          out[n++] = c;
          last = T_OTHER;
        }
        depth--;
        i++;
        continue;
      }
      if (c === 0x24) {
        // $1: a parameter keeps its number.
        out[n++] = c;
        i++;
        while (i < end && KIND[text[i] as number] === DIGIT) out[n++] = text[i++] as number;
        last = T_OTHER;
        continue;
      }
      if (c === 0x2c) last = last === T_ROW && previousRowAt !== -1 ? T_ROW_COMMA : T_OTHER;
      else {
        last = c === 0x2e ? T_DOT : T_OTHER;
        if (c !== 0x2d && c !== 0x2b) listAt = -1;
        if (c === 0x3b) statementStart = true;
      }
      out[n++] = c;
      i++;
    }
    if (this.ambiguous) out[n++] = AMBIGUOUS;
    this.length = n;
    let hash = 0x811c9dc5 | 0;
    for (let j = 0; j < n; j++) hash = Math.imul(hash ^ (out[j] as number), 0x01000193);
    this.hash = hash;
    return true;
  }
}

const RENDERED = ['', '1', '9999999999', '1.5', "'x'", "B'1'", '(1)'];

/** A statement text with this key: what the parser gets to see. */
export function keyToSql(key: Buffer): string {
  let end = key.length;
  if (end > 0 && key[end - 1] === AMBIGUOUS) end--;
  if (key[0] === EXACT) return key.toString('utf8', 1, end);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the placeholders are control bytes, nothing else can be
  return key.toString('utf8', 0, end).replace(/[\x01-\x06]/g, (c) => ` ${RENDERED[c.charCodeAt(0)]} `);
}

/** Whether [from, to) is the previous row again, with only `, ` between the two. */
function sameBytes(out: Buffer, previousAt: number, previousEnd: number, at: number, end: number): boolean {
  if (previousEnd - previousAt !== end - at || at - previousEnd > 3) return false;
  for (let i = 0; i < end - at; i++) if (out[previousAt + i] !== out[at + i]) return false;
  return true;
}

function isWord(text: Buffer, start: number, end: number, word: Buffer): boolean {
  for (let i = start, j = 0; i < end; i++, j++) {
    const c = text[i] as number;
    if ((c >= 0x41 && c <= 0x5a ? c | 0x20 : c) !== word[j]) return false;
  }
  return true;
}

/** Words that begin most statements are told apart by their first letter and length before a string is made. */
function isCollapsing(text: Buffer, start: number, end: number): boolean {
  const size = end - start;
  const first = (text[start] as number) | 0x20;
  if (size === 6 && first === 0x73) return isWord(text, start, end, SELECT_WORD);
  return COLLAPSING.has(text.toString('latin1', start, end).toLowerCase());
}
const SELECT_WORD = Buffer.from('select');

function isHint(text: Buffer, start: number, end: number): boolean {
  let i = start;
  while (i < end && KIND[text[i] as number] === SPACE) i++;
  return end - i > 9 && isWord(text, i, i + 9, HINT_WORD);
}
const HINT_WORD = Buffer.from('fairlead:');

/** End of a number: digits, `_`, a point, an exponent, or 0x / 0o / 0b. */
function scanNumber(text: Buffer, start: number, end: number): number {
  let i = start;
  if (text[i] === 0x30 && i + 1 < end) {
    const base = (text[i + 1] as number) | 0x20;
    if (base === 0x78 || base === 0x6f || base === 0x62) {
      i += 2;
      while (i < end && WORD_PART[text[i] as number] === 1 && text[i] !== 0x24) i++;
      return i;
    }
  }
  let point = false;
  for (; i < end; i++) {
    const c = text[i] as number;
    if (KIND[c] === DIGIT || c === 0x5f) continue;
    if (c === 0x2e && !point && text[i + 1] !== 0x2e) {
      point = true;
      continue;
    }
    if ((c | 0x20) !== 0x65) break;
    let j = i + 1;
    if (j < end && (text[j] === 0x2b || text[j] === 0x2d)) j++;
    if (j >= end || KIND[text[j] as number] !== DIGIT) break;
    while (j < end && (KIND[text[j] as number] === DIGIT || text[j] === 0x5f)) j++;
    return j;
  }
  return i;
}

function numberKind(text: Buffer, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const c = text[i] as number;
    if (KIND[c] === DIGIT) continue;
    const lower = c | 0x20;
    return c === 0x2e || (lower === 0x65 && (text[start + 1] as number) !== 0x78) ? NUMERIC : BIG_INT;
  }
  return end - start <= 9 ? INT : BIG_INT;
}
