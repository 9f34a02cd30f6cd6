import type { Client } from 'pg';
import { RowArena } from './row-arena.ts';

/** What a message of the stream was, as far as positions care. */
export type DecodedKind = 'begin' | 'change' | 'message' | 'commit' | 'other';

export type DecoderOptions = {
  readonly slot: string;
  /** So much is kept of the rows of one transaction. */
  readonly rowBytes: number;
  /** Called when the slot exists, with the position from which on everything is told, and the encoding of what is told. */
  started(consistentLsn: string, encoding: string): void;
};

/** Prefix of the messages that the DDL event triggers emit. */
export const DDL_PREFIX = 'fairlead.ddl';

/** More tables than this in one transaction count as all. */
export const MAX_TABLES = 256;

const LETTER_B = 0x42;
const LETTER_C = 0x43;
const LETTER_m = 0x6d;
const LETTER_t = 0x74;
const QUOTE = 0x22;
const COLON = 0x3a;
const COMMA = 0x2c;
const TABLE_PREFIX_BYTES = 'table '.length;
/** Fairlead's own tables: what it writes there it writes again where it is missing. */
const OWN = /^fairlead\./;

/**
 * Reads what the output plugin `test_decoding` writes, no further than the names of tables: row data is copied at most. An instance holds the
 * transaction that is being read; after 'commit' its fields tell about it, until the next 'begin'.
 *
 * Formats are those of contrib/test_decoding/test_decoding.c (13 to 18): `BEGIN 741`, `table public.t: INSERT: a[integer]:1`,
 * `table public.t, public.u: TRUNCATE: (no-flags)`, `message: transactional: 1 prefix: p, sz: 2 content:xy`,
 * `COMMIT 741 (at 2026-11-21 01:26:30.960565+00)`.
 */
export class CommitDecoder {
  readonly options: DecoderOptions;
  /** As pg-logical-replication wants it of a plugin. */
  readonly name = 'test_decoding';
  /** Qualified names as the server quotes them, in the open or just committed transaction. */
  readonly tables = new Set<string>();
  /** Contents of the DDL messages in it. */
  readonly ddl: string[] = [];
  /** Rows it changed, undecoded. */
  readonly rows: RowArena;
  /** True when it touched more tables than are counted. */
  opaque = false;
  /** True when it changed something that no table and no message tells about: a system catalog without DDL (ANALYZE, GRANT of a role), a large object. */
  untold = false;
  /** Transaction id, 32 bits. */
  xid = 0;
  /** Commit time, wall milliseconds by the primary's clock. */
  commitMs = 0;
  #changes = 0;
  #messages = 0;
  #lastTable: Buffer = Buffer.alloc(0);
  #own = false;

  constructor(options: DecoderOptions) {
    this.options = options;
    this.rows = new RowArena(options.rowBytes);
  }

  /** Makes the temporary slot on the stream's own connection and starts reading it. Resolves when the stream ends. */
  async start(client: Client): Promise<unknown> {
    const { slot, started } = this.options;
    // what the plugin writes is not converted to the client's
    const encoding = await client.query<{ server_encoding: string }>('SHOW server_encoding');
    // waits until every transaction that is open now has ended: nothing of the stream is promised until `started`
    const made = await client.query<{ consistent_point: string }>(
      `CREATE_REPLICATION_SLOT "${slot}" TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT`,
    );
    const from = made.rows[0]?.consistent_point as string;
    const stream = client.query(
      `START_REPLICATION SLOT "${slot}" LOGICAL ${from} ("include-xids" '1', "include-timestamp" '1', "skip-empty-xacts" '0')`,
    );
    started(from, encoding.rows[0]?.server_encoding as string);
    return stream;
  }

  parse(message: Buffer): DecodedKind {
    switch (message[0]) {
      case LETTER_t:
        this.#change(message);
        return 'change';
      case LETTER_B:
        this.#begin();
        return 'begin';
      case LETTER_C:
        this.#commit(message);
        return 'commit';
      case LETTER_m:
        this.#message(message);
        return 'message';
      default:
        return 'other';
    }
  }

  #begin(): void {
    this.tables.clear();
    this.ddl.length = 0;
    this.opaque = false;
    this.untold = false;
    this.#changes = 0;
    this.#messages = 0;
    this.rows.begin();
  }

  #change(message: Buffer): void {
    this.#changes++;
    const last = this.#lastTable;
    // rows of one table come in runs: one comparison each
    const again = this.#changes > 1 && last.length > 0 && message.length >= last.length;
    if (!again || message.compare(last, 0, last.length, 0, last.length) !== 0) this.#named(message);
    if (!this.#own) this.rows.append(message);
  }

  #named(message: Buffer): void {
    const end = endOfNames(message);
    this.#lastTable = Buffer.from(message.subarray(0, end + 1));
    const names = splitNames(message.toString('utf8', TABLE_PREFIX_BYTES, end));
    this.#own = names.every((name) => OWN.test(name));
    for (const name of names) this.tables.add(name);
    if (this.tables.size > MAX_TABLES) this.opaque = true;
  }

  #message(message: Buffer): void {
    const text = message.toString('utf8', 0, Math.min(message.length, 65_536));
    const match = /^message: transactional: (\d) prefix: (.*?), sz: \d+ content:(.*)$/s.exec(text);
    if (match === null || match[1] !== '1') return;
    this.#messages++;
    if (match[2] !== DDL_PREFIX) return;
    this.ddl.push(match[3] as string);
  }

  #commit(message: Buffer): void {
    const text = message.toString('latin1');
    this.commitMs = parseCommitTime(text);
    this.xid = Number.parseInt(text.slice('COMMIT '.length), 10);
    this.untold = this.#changes === 0 && this.#messages === 0;
  }
}

/** Index of the colon that ends the list of tables; quoted names may hold one themselves. */
function endOfNames(message: Buffer): number {
  let quoted = false;
  for (let i = TABLE_PREFIX_BYTES; i < message.length; i++) {
    const byte = message[i];
    if (byte === QUOTE) quoted = !quoted;
    else if (byte === COLON && !quoted) return i;
  }
  return message.length;
}

export function splitNames(text: string): string[] {
  if (!text.includes(',')) return [text];
  const names: string[] = [];
  let quoted = false;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? COMMA : text.charCodeAt(i);
    if (code === QUOTE) quoted = !quoted;
    else if (code === COMMA && !quoted) {
      names.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  return names;
}

/** `COMMIT 741 (at 2026-11-21 01:26:30.960565+00)`; the stream's session runs in UTC. Microseconds survive as a fraction. */
export function parseCommitTime(text: string): number {
  const match = /\(at (\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?\+00\)/.exec(text);
  if (match === null) throw new RangeError(`not a commit as test_decoding prints it: ${text.slice(0, 80)}`);
  const [, year, month, day, hour, minute, second, fraction] = match;
  const ms = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  return ms + Number(fraction ?? 0) * 1000;
}
