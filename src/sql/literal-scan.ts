/** Where comments and quoted literals of a SQL text end. Bytes in, an offset out; nothing is copied. */

const QUOTE = 0x27;
const BACKSLASH = 0x5c;
const DOLLAR = 0x24;

/** `--` to the end of the line, or a nested block comment. -1 when it does not end. */
export function scanComment(text: Buffer, start: number, end: number): number {
  let i = start + 2;
  if (text[start] === 0x2d) {
    while (i < end && text[i] !== 0x0a && text[i] !== 0x0d) i++;
    return i;
  }
  for (let depth = 1; i + 1 < end; ) {
    const c = text[i];
    const next = text[i + 1];
    if (c === 0x2a && next === 0x2f) {
      i += 2;
      if (--depth === 0) return i;
    } else if (c === 0x2f && next === 0x2a) {
      i += 2;
      depth++;
    } else i++;
  }
  return -1;
}

/**
 * End of the string whose opening quote is at `quote`, with its continuation on further lines ('a' newline 'b').
 * -1 when it does not end; the negative of the end when the end depends on something the text does not tell:
 * `standard_conforming_strings`, or a client encoding that uses a backslash as a second byte.
 */
export function scanString(text: Buffer, quote: number, end: number, escapes: boolean): number {
  let i = quote + 1;
  let ambiguous = false;
  for (;;) {
    if (i >= end) return -1;
    const c = text[i] as number;
    if (c === BACKSLASH) {
      if (escapes) {
        if (text[i + 1] === QUOTE && (text[i - 1] as number) >= 0x80) ambiguous = true;
        i += 2;
        continue;
      }
      if (text[i + 1] === QUOTE) ambiguous = true;
    }
    if (c !== QUOTE) {
      i++;
      continue;
    }
    if (i + 1 < end && text[i + 1] === QUOTE) {
      i += 2;
      continue;
    }
    i++;
    const more = scanContinuation(text, i, end);
    if (more === -1) return ambiguous ? -i : i;
    i = more + 1;
  }
}

/** The quote that continues a string: white space with a newline in it, `--` comments allowed. -1 without one. */
function scanContinuation(text: Buffer, start: number, end: number): number {
  let newline = false;
  let i = start;
  while (i < end) {
    const c = text[i] as number;
    if (c === 0x0a || c === 0x0d) newline = true;
    else if (c === 0x2d && text[i + 1] === 0x2d) {
      i = scanComment(text, i, end);
      continue;
    } else if (c !== 0x20 && c !== 0x09 && c !== 0x0b && c !== 0x0c) {
      return c === QUOTE && newline ? i : -1;
    }
    i++;
  }
  return -1;
}

/** End of $tag$…$tag$. `start` itself when no dollar quote begins here, -2 when it does not end. */
export function scanDollarQuote(text: Buffer, start: number, end: number): number {
  let tagEnd = start + 1;
  while (tagEnd < end && text[tagEnd] !== DOLLAR) {
    const c = text[tagEnd] as number;
    const letter = (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || c === 0x5f || c >= 0x80;
    const digit = c >= 0x30 && c <= 0x39 && tagEnd > start + 1;
    if (!letter && !digit) return start;
    tagEnd++;
  }
  if (tagEnd >= end) return start;
  const size = tagEnd + 1 - start;
  for (let i = tagEnd + 1; i + size <= end; i++) {
    if (text[i] !== DOLLAR) continue;
    let j = 1;
    while (j < size && text[i + j] === text[start + j]) j++;
    if (j === size) return i + size;
  }
  return -2;
}
