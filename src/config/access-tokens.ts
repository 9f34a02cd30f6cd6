/** Lines of pg_hba.conf and pg_ident.conf. https://www.postgresql.org/docs/18/auth-pg-hba-conf.html */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { FairleadError, messageOf } from '../core/errors.ts';

/** In quotes a word has no meaning of its own. */
export type Token = { readonly text: string; readonly quoted: boolean };

/** Words that are separated by commas stand in one field. */
export type Line = {
  readonly fields: readonly (readonly Token[])[];
  /** File and line number, for people. */
  readonly where: string;
};

/** As deep as PostgreSQL follows (CONF_FILE_MAX_DEPTH). */
const MAX_DEPTH = 10;

/** @param from where the file is named. @throws FairleadError bad_config */
export function readLines(file: string, from = file, depth = 0): Line[] {
  return splitLines(read(file, from)).flatMap(({ text, number }) => {
    const where = `${file}:${number}`;
    const line = { fields: fieldsOf(text, where, dirname(file), depth), where };
    return included(line, file, depth) ?? (line.fields.length === 0 ? [] : [line]);
  });
}

/** One line that stands in no file; `@file` must be an absolute path there. @throws FairleadError bad_config */
export function readLine(text: string, where: string): Line {
  return { fields: fieldsOf(text, where, null, 0), where };
}

/** What `include`, `include_if_exists` and `include_dir` stand for; null for any other line. */
function included({ fields, where }: Line, file: string, depth: number): Line[] | null {
  const [directive, path] = fields;
  const name = directive?.[0]?.quoted === false && directive.length === 1 ? directive[0].text : '';
  if (!/^include(_if_exists|_dir)?$/.test(name)) return null;
  if (fields.length !== 2 || path?.length !== 1) throw fault(where, `write "${name}" and one file`);
  const target = resolve(dirname(file), path[0]?.text as string);
  if (name === 'include_dir') {
    const names = attempt(where, () => readdirSync(target)).filter((entry) => /^[^.].*\.conf$/.test(entry));
    return names.sort().flatMap((entry) => readLines(join(target, entry), where, deeper(depth, where)));
  }
  if (name === 'include_if_exists' && !existsSync(target)) return [];
  return readLines(target, where, deeper(depth, where));
}

/** A backslash at the end of a line continues it. */
function splitLines(text: string): { text: string; number: number }[] {
  const lines: { text: string; number: number }[] = [];
  let open: { text: string; number: number } | null = null;
  for (const [index, part] of text.split(/\r?\n/).entries()) {
    open ??= { text: '', number: index + 1 };
    open.text += part;
    if (open.text.endsWith('\\')) {
      open.text = open.text.slice(0, -1);
      continue;
    }
    lines.push(open);
    open = null;
  }
  if (open !== null) lines.push(open);
  return lines;
}

const BLANK = /[ \t\r]/;

/** As next_token and next_field_expand in PostgreSQL's hba.c do. */
function fieldsOf(line: string, where: string, base: string | null, depth: number): Token[][] {
  const fields: Token[][] = [];
  let pos = 0;
  let goesOn = false;
  for (;;) {
    while (pos < line.length && (BLANK.test(line[pos] as string) || line[pos] === ',')) pos++;
    if (pos >= line.length || line[pos] === '#') return fields;
    const quoted = line[pos] === '"';
    let text = '';
    let inside = false;
    let wasQuote = false;
    let comma = false;
    for (; pos < line.length; pos++) {
      const c = line[pos] as string;
      if (!inside && (BLANK.test(c) || c === '#' || c === ',')) {
        comma = c === ',';
        break;
      }
      // a doubled quote inside of quotes stands for one
      if (c !== '"' || wasQuote) text += c;
      wasQuote = inside && c === '"' ? !wasQuote : false;
      if (c === '"') inside = !inside;
    }
    if (inside) throw fault(where, 'a quote is not closed');
    const tokens =
      !quoted && text.startsWith('@') && text.length > 1
        ? listed(text.slice(1), where, base, depth)
        : [{ text, quoted }];
    if (goesOn) fields.at(-1)?.push(...tokens);
    else fields.push(tokens);
    goesOn = comma;
  }
}

/** The names in a file. */
function listed(name: string, where: string, base: string | null, depth: number): Token[] {
  if (base === null && !isAbsolute(name)) throw fault(where, `write the whole path of "${name}"`);
  const file = resolve(base ?? '/', name);
  const next = deeper(depth, where);
  return splitLines(read(file, where)).flatMap((line) =>
    fieldsOf(line.text, `${file}:${line.number}`, dirname(file), next).flat(),
  );
}

function deeper(depth: number, where: string): number {
  if (depth + 1 > MAX_DEPTH) throw fault(where, 'files include each other too deeply');
  return depth + 1;
}

function read(file: string, where: string): string {
  return attempt(where, () => readFileSync(file, 'utf8')).replace(/^\ufeff/, '');
}

function attempt<T>(where: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw fault(where, messageOf(error));
  }
}

export function fault(where: string, what: string): FairleadError {
  return new FairleadError('bad_config', `${where}: ${what}`);
}
