import { FairleadError } from '../core/errors.ts';

/** A statement as its words: comments gone, quotes taken off. Never empty. */
export type Statement = readonly string[];

/** Blank, comment, quoted, semicolon, or anything else up to one of those. */
const TOKEN = /\s+|--[^\n]*|\/\*|'(?:[^']|'')*'|"(?:[^"]|"")*"|;|[^\s;'"/-]+|[/-]|['"]/gy;

/** Cuts a query text into statements. @throws FairleadError unknown_command for a quote or comment that does not end. */
export function readStatements(text: string): Statement[] {
  const statements: string[][] = [];
  let words: string[] = [];
  let glue = false;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const token = match[0];
    if (token === ';') {
      if (words.length > 0) statements.push(words);
      words = [];
      glue = false;
    } else if (token === '/*') {
      TOKEN.lastIndex = commentEnd(text, match.index);
      glue = false;
    } else if (/^(\s|--)/.test(token)) glue = false;
    else if (token === "'" || token === '"') {
      throw new FairleadError('unknown_command', `unterminated quoted string at or near "${near(text, match.index)}"`);
    } else {
      const word = unquote(token);
      // pg-2 is one word of three tokens
      if (glue && words.length > 0) words[words.length - 1] += word;
      else words.push(word);
      glue = true;
    }
  }
  if (words.length > 0) statements.push(words);
  return statements;
}

function unquote(token: string): string {
  const quote = token[0] as string;
  if (quote !== "'" && quote !== '"') return token;
  return token.slice(1, -1).replaceAll(quote + quote, quote);
}

/** Comments nest, as in PostgreSQL. */
function commentEnd(text: string, start: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = start;
  let depth = 0;
  for (let match = edge.exec(text); match !== null; match = edge.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return edge.lastIndex;
  }
  throw new FairleadError('unknown_command', `unterminated comment at or near "${near(text, start)}"`);
}

function near(text: string, at: number): string {
  return text.slice(at, at + 20);
}
