import type * as PgQuery from 'libpg-query';
import { type Fields, listOf, type RawStatement, unwrap } from './ast.ts';

/** PostgreSQL's own parser, in WASM. Loaded once; loaded anew after a trap, for its memory cannot be trusted then. */

/** A longer text is not parsed: one parse must not hold up the event loop. */
export const MAX_PARSE_BYTES = 256 * 1024;

export type Parsed =
  | { readonly kind: 'statements'; readonly statements: readonly RawStatement[] }
  /** `transient`: the same text may parse later. */
  | { readonly kind: 'failed'; readonly message: string; readonly transient: boolean };

type Parser = Pick<typeof PgQuery, 'parseSync' | 'loadModule' | 'SqlError'>;

let parser: Parser | null = null;
let loading: Promise<void> | null = null;
let generation = 0;

/** Resolves when `parse` can be used. */
export function loadParser(): Promise<void> {
  if (parser !== null) return Promise.resolve();
  loading ??= load().finally(() => {
    loading = null;
  });
  return loading;
}

async function load(): Promise<void> {
  // A module keeps one WASM instance for ever; another URL of the same file makes another one.
  const url = import.meta.resolve('libpg-query');
  const loaded = (await import(generation === 0 ? url : `${url}?reload=${generation}`)) as Parser;
  await loaded.loadModule();
  generation++;
  parser = loaded;
}

export function parse(sql: string): Parsed {
  if (parser === null) return { kind: 'failed', message: 'the parser is being loaded', transient: true };
  if (sql.trim() === '') return { kind: 'statements', statements: [] };
  try {
    const tree = parser.parseSync(sql) as unknown as { stmts?: unknown };
    const statements: RawStatement[] = [];
    for (const raw of listOf(tree.stmts)) {
      const statement = unwrap((raw as { stmt?: Fields }).stmt);
      if (statement !== null) statements.push(statement);
    }
    return { kind: 'statements', statements };
  } catch (error) {
    if (error instanceof parser.SqlError) return { kind: 'failed', message: error.message, transient: false };
    // Stack overflow or a WASM trap (deep nesting). JSON's SyntaxError would be a bug of the library: the same.
    parser = null;
    void loadParser().catch(() => {});
    return { kind: 'failed', message: 'too deeply nested for the parser', transient: false };
  }
}
