import { isUtf8 } from 'node:buffer';
import { analyse, freeze, notUnderstood } from './analyse.ts';
import type { Catalog } from './catalog.ts';
import { parseHint } from './hint.ts';
import { keyToSql, LiteralKey } from './literal-key.ts';
import { scanComment } from './literal-scan.ts';
import { loadParser, MAX_PARSE_BYTES, parse } from './parse.ts';
import type { Hint, StatementClass, Verdict } from './verdict.ts';
import { VerdictCache } from './verdict-cache.ts';

/** A longer key is analysed each time: the cache is bounded in entries, and so must they be. */
const MAX_CACHED_KEY_BYTES = 32 * 1024;

export type ClassifierOptions = {
  /** Statement shapes kept. Texts whose literals matter (SET x = '…') have a cache of a quarter of that. */
  readonly maxEntries: number;
};

/**
 * SQL text → verdict. Pure but for its caches: key of the text, without literals where they cannot matter, → verdict;
 * on a miss the text rendered from the key goes through PostgreSQL's parser. Errors are on the side of the primary.
 */
export class Classifier {
  readonly #key = new LiteralKey();
  readonly #shapes: VerdictCache;
  readonly #texts: VerdictCache;
  readonly #learned: VerdictCache;
  /** Statements that turned out to write: verdicts from before may not hold. */
  learned = 0;
  hits = 0;
  misses = 0;

  constructor(options: ClassifierOptions) {
    this.#shapes = new VerdictCache(options.maxEntries);
    this.#texts = new VerdictCache(Math.max(2, options.maxEntries >> 2));
    this.#learned = new VerdictCache(Math.max(2, options.maxEntries >> 2));
  }

  /** To be awaited once, before the first `classify`. */
  static load(): Promise<void> {
    return loadParser();
  }

  get size(): number {
    return this.#shapes.size + this.#texts.size + this.#learned.size;
  }

  /** The verdict on buffer[start, end), without a terminating zero. Frozen and shared; never throws. */
  classify(buffer: Buffer, start: number, end: number, catalog: Catalog | null): Verdict {
    const key = this.#key;
    if (!key.build(buffer, start, end)) return this.#withoutKey(buffer, start, end, catalog);
    const cache = key.keptLiterals ? this.#texts : this.#shapes;
    const entry = cache.get(key);
    if (entry !== undefined && entry.catalog === catalog) {
      this.hits++;
      return entry.verdict;
    }
    this.misses++;
    const hint = key.hintStart === -1 ? null : parseHint(buffer.toString('utf8', key.hintStart, key.hintEnd));
    const [verdict, cacheable] = this.#fromKey(hint, catalog);
    const learned = this.#learned.size === 0 ? undefined : this.#learned.get(key);
    const result = learned === undefined ? verdict : writeInstead(verdict, learned.verdict.reason);
    if (cacheable && key.length <= MAX_CACHED_KEY_BYTES) cache.set(key, catalog, result);
    return result;
  }

  classifyText(text: string, catalog: Catalog | null): Verdict {
    const buffer = Buffer.from(text);
    return this.classify(buffer, 0, buffer.length, catalog);
  }

  /** A replica refused this text as a write (25006): texts of its shape are writes from now on. */
  learnWrite(buffer: Buffer, start: number, end: number, reason: string): void {
    const key = this.#key;
    if (!key.build(buffer, start, end) || key.length > MAX_CACHED_KEY_BYTES) return;
    this.learned++;
    const cache = key.keptLiterals ? this.#texts : this.#shapes;
    const entry = cache.get(key);
    const before = entry?.verdict ?? notUnderstood(reason, 'write', null, false);
    const verdict = writeInstead(before, reason);
    this.#learned.set(key, null, verdict);
    if (entry !== undefined) cache.set(key, entry.catalog, verdict);
  }

  /** Verdict of the current key, and whether it may be kept. */
  #fromKey(hint: Hint | null, catalog: Catalog | null): [Verdict, boolean] {
    const key = this.#key;
    const bytes = key.bytes.subarray(0, key.length);
    const sql = keyToSql(bytes);
    if (key.length > MAX_PARSE_BYTES) return [tooLong(sql, hint), true];
    const parsed = parse(sql);
    if (parsed.kind === 'failed') return [byFirstWord(sql, hint, parsed.message), !parsed.transient];
    const verdict = analyse(parsed.statements, catalog, hint);
    if (verdict.class !== 'read') return [verdict, true];
    if (key.ambiguous) return [asUnknown(verdict, 'has a literal whose end depends on the session'), true];
    if (!isUtf8(bytes)) return [asUnknown(verdict, 'has names that are not UTF-8'), true];
    return [verdict, true];
  }

  /** Unterminated, with control bytes, or too long: the server will refuse most of these, and none is a read. */
  #withoutKey(buffer: Buffer, start: number, end: number, catalog: Catalog | null): Verdict {
    this.misses++;
    if (end - start > MAX_PARSE_BYTES) {
      return tooLong(buffer.toString('latin1', start, end), null);
    }
    const text = buffer.toString('utf8', start, end);
    if (text.includes('\0')) return byFirstWord(text, null, 'has a zero byte');
    const parsed = parse(text);
    if (parsed.kind === 'failed') return byFirstWord(text, null, parsed.message);
    const verdict = analyse(parsed.statements, catalog, null);
    return verdict.class === 'read' ? asUnknown(verdict, 'has control characters') : verdict;
  }
}

function writeInstead(verdict: Verdict, reason: string): Verdict {
  const learned = verdict.class === 'read' || verdict.class === 'unknown' ? 'write' : verdict.class;
  return freeze({ ...verdict, class: learned, reason, mayWrite: true, callsVolatile: true, mayAdvanceSequence: true });
}

function asUnknown(verdict: Verdict, reason: string): Verdict {
  return freeze({ ...verdict, class: 'unknown', reason, mayWrite: true });
}

/** Words of what leaves state behind in the server connection, other than settings. */
const STATEFUL =
  /\b(temp|temporary|prepare|listen|advisory|hold|load|setseed|session_authorization|authorization|currval|lastval)\b|advisory/i;

/** It may hold any number of statements: its settings are read back, and unless it looks harmless throughout it keeps its connection. */
function tooLong(text: string, hint: Hint | null): Verdict {
  const verdict = byFirstWord(text, hint, 'too long to parse');
  const harmless = verdict.class !== 'unknown' && !STATEFUL.test(text);
  return freeze({ ...verdict, changesSettings: true, pin: harmless ? null : 'server state' });
}

/** All that can be said without a parse. Never a read. */
function byFirstWord(text: string, hint: Hint | null, problem: string): Verdict {
  const bytes = Buffer.from(text.slice(0, 4096), 'latin1');
  let i = 0;
  while (i < bytes.length) {
    const c = bytes[i] as number;
    const comment = (c === 0x2d && bytes[i + 1] === 0x2d) || (c === 0x2f && bytes[i + 1] === 0x2a);
    if (comment) {
      const stop = scanComment(bytes, i, bytes.length);
      if (stop === -1) break;
      i = stop;
    } else if (c <= 0x20 || c === 0x28) i++;
    else break;
  }
  const word = /^[a-z]+/i.exec(bytes.toString('latin1', i, i + 20))?.[0].toLowerCase() ?? '';
  const known: Readonly<Record<string, StatementClass>> = {
    insert: 'write',
    update: 'write',
    delete: 'write',
    merge: 'write',
    copy: 'copy',
  };
  const changesSettings = word !== 'insert' && /\b(set|set_config|reset|discard)\b/i.test(text);
  const reason = `not understood: ${problem}`;
  return notUnderstood(reason, known[word] ?? 'unknown', hint, changesSettings);
}
