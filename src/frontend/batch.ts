import { EXPECT, type Exchange, type StatementEntry, UNKNOWN_NAME, type Undone } from '../backend/exchange.ts';
import {
  closeStatement,
  NOBODYS,
  type PreparedStatement,
  parseMessage,
  SHARED_PREFIX,
} from '../backend/prepared-statement.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import type { Shape } from '../backend/statement-shape.ts';
import type { Catalog } from '../sql/catalog.ts';
import type { Verdict } from '../sql/verdict.ts';
import { CLIENT } from '../wire/message-type.ts';
import { cstrings, FLUSH, message, SYNC } from '../wire/writer.ts';
import { encodeStandIns, type NameUse } from './name-use.ts';
import type { Variant } from './variant.ts';

/** A statement as a session knows it. */
export type SessionStatement = {
  readonly prepared: PreparedStatement;
  readonly verdict: Verdict;
  /** What the verdict goes by: another catalog, or a statement that turned out to write, may change it. */
  readonly catalog: Catalog | null;
  readonly learned: number;
  /** What the client was told of its types since it prepared it. */
  readonly told: Shape;
};

/** One message of the extended protocol, with the statement it is about. */
type Item = {
  readonly type: number;
  readonly raw: Buffer;
  /** Statement name as the client wrote it; null where the message has none. */
  readonly name: string | null;
  readonly statement: SessionStatement | null;
  /** What the name stood for before: Close and Parse. */
  readonly before: SessionStatement | null;
  /** Length of the whole message where `raw` is only its beginning. */
  readonly wholeLength: number | null;
  /** What SQL does in it with names of statements. */
  readonly use: NameUse | null;
};

/** Statements kept on one server connection; the least recently used is closed beyond that. */
const MAX_PREPARED = 500;

/**
 * Messages of the extended protocol between two points where they go to a server (Sync, Flush). Names of statements are the
 * session's; on a server connection statements have shared names and are prepared as needed.
 */
export class Batch {
  readonly #items: Item[] = [];
  #bytes = 0;
  /** Verdicts of all its statements, those that are only parsed included. */
  readonly verdicts: Verdict[] = [];
  /** Verdicts of those that are bound, and so run. */
  readonly bound: Verdict[] = [];
  /** Statements that run without being described: the client reads their rows by what it was told before. */
  readonly relied: SessionStatement[] = [];
  #executes = false;
  #binds = false;

  get empty(): boolean {
    return this.#items.length === 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True when copied data ends in it. */
  get copies(): boolean {
    return this.#items.some(({ type }) => type === CLIENT.COPY_DONE || type === CLIENT.COPY_FAIL);
  }

  /** True when something in it runs. */
  get executes(): boolean {
    return this.#executes || this.#binds;
  }

  /** True when all that is bound in it is executed in it. */
  get runsWhatItBinds(): boolean {
    const waiting = new Set<string>();
    for (const { type, raw } of this.#items) {
      if (type !== CLIENT.BIND && type !== CLIENT.EXECUTE) continue;
      const portal = raw.toString('latin1', 5, raw.indexOf(0, 5));
      if (type === CLIENT.EXECUTE) waiting.delete(portal);
      else if (waiting.has(portal)) return false;
      else waiting.add(portal);
    }
    return waiting.size === 0;
  }

  /** True when it is executions alone: nothing is prepared under a name, nothing left open. */
  get plain(): boolean {
    for (const { type, name, statement, use, wholeLength } of this.#items) {
      if (use !== null || wholeLength !== null) return false;
      switch (type) {
        case CLIENT.PARSE:
          if (name !== '') return false;
          break;
        case CLIENT.BIND:
          if (statement === null) return false;
          break;
        case CLIENT.DESCRIBE:
          if (name !== null && statement === null) return false;
          break;
        case CLIENT.EXECUTE:
          break;
        default:
          return false;
      }
    }
    return this.#binds;
  }

  /** True when a server connection has all that it uses by name. */
  isPreparedOn({ statements }: ServerConnection, variant: Variant): boolean {
    for (const { name, statement } of this.#items) {
      if (name !== null && name !== '' && statement !== null && !statements.has(variant(statement.prepared)))
        return false;
    }
    return true;
  }

  items(): readonly Item[] {
    return this.#items;
  }

  add(
    type: number,
    raw: Buffer,
    name: string | null,
    statement: SessionStatement | null,
    before: SessionStatement | null = null,
    use: NameUse | null = null,
  ): void {
    this.#items.push({ type, raw, name, statement, before, wholeLength: null, use });
    this.#bytes += raw.length;
    if (type === CLIENT.EXECUTE) this.#executes = true;
    if (type === CLIENT.BIND) {
      this.#binds = true;
      if (statement !== null) this.bound.push(statement.verdict);
      if (name !== '' && statement !== null && isRelied(statement)) this.relied.push(statement);
    } else if (type === CLIENT.DESCRIBE && name === null) {
      // of a portal: the client is told anew
      const before = this.#items.at(-2);
      if (before?.type === CLIENT.BIND && before.statement === this.relied.at(-1)) this.relied.pop();
    }
    if (type === CLIENT.EXECUTE && use !== null) {
      this.verdicts.push(...use.executes);
      this.bound.push(...use.executes);
    }
    if (statement !== null && !this.verdicts.includes(statement.verdict)) this.verdicts.push(statement.verdict);
  }

  /** The beginning of a message whose rest is passed on behind the batch. */
  addLarge(
    type: number,
    raw: Buffer,
    wholeLength: number,
    name: string | null,
    statement: SessionStatement | null,
  ): void {
    this.add(type, raw, name, statement);
    this.#items.push({ ...(this.#items.pop() as Item), wholeLength });
  }

  /** What names stand for again when nothing of it was done; later ones come first. */
  undone(): Undone[] {
    const undone: Undone[] = [];
    for (const { type, name, before, use } of this.#items) {
      if (name !== null && (type === CLIENT.PARSE || (type === CLIENT.CLOSE && before !== null))) {
        undone.unshift({ name, statement: before?.prepared ?? null });
      }
      undone.unshift(...(use?.deallocation?.gone ?? []));
    }
    return undone;
  }

  /**
   * Bytes for one server connection; the replies they will have are added to the exchange.
   * @param variant the statement as it is under the session's settings
   * @param end what closes this stretch
   */
  encode(connection: ServerConnection, exchange: Exchange, variant: Variant, end: 'sync' | 'flush' | 'none'): Buffer[] {
    const out: Buffer[] = [];
    const encoder = new Encoder(connection, exchange, variant, out);
    for (const item of this.#items) encoder.item(item);
    // nothing may stand between the beginning of a long message and its rest
    const insideMessage = (this.#items.at(-1)?.wholeLength ?? null) !== null;
    if (insideMessage) return out;
    // in the middle of a queue nothing is forgotten
    if (connection.depth === 0 || connection.sharing === null) encoder.evict();
    if (end === 'sync') out.push(SYNC);
    else if (end === 'flush') out.push(FLUSH);
    return out;
  }
}

class Encoder {
  readonly #connection: ServerConnection;
  readonly #exchange: Exchange;
  readonly #variant: Variant;
  readonly #out: Buffer[];
  #unnamed: PreparedStatement | null;
  /** The Bind just before. */
  #bind: Item | null = null;

  constructor(connection: ServerConnection, exchange: Exchange, variant: Variant, out: Buffer[]) {
    this.#variant = variant;
    this.#connection = connection;
    this.#exchange = exchange;
    this.#out = out;
    // what stands in the queue before it may leave another one
    const known = connection.sharing === null ? connection.statements.unnamed : null;
    this.#unnamed = exchange.unnamedPlanned ?? known;
  }

  item(item: Item): void {
    const { use } = item;
    if (use !== null) this.#out.push(...encodeStandIns(this.#connection, this.#exchange, use.standIns, this.#variant));
    switch (item.type) {
      case CLIENT.PARSE:
        return this.#parse(item);
      case CLIENT.BIND:
        this.#require(item);
        this.#bind = item;
        this.#out.push(rewrittenBind(item, this.#serverName(item)));
        return this.#exchange.expect(EXPECT.BIND, item.statement === null ? UNKNOWN_NAME : null, item.name);
      case CLIENT.DESCRIBE:
        if (item.name === null) {
          this.#out.push(item.raw);
          return this.#exchange.expect(EXPECT.DESCRIBE_PORTAL, this.#portalEntry(item));
        }
        this.#require(item);
        this.#out.push(rewrittenDescribe(item, this.#serverName(item)));
        return this.#exchange.expect(
          EXPECT.DESCRIBE_STATEMENT,
          item.statement === null ? UNKNOWN_NAME : this.#entry(item, item.statement),
          item.name,
        );
      case CLIENT.EXECUTE:
        this.#out.push(item.raw);
        if (use?.deallocation) return this.#exchange.expectDeallocation(use.deallocation);
        return this.#exchange.expect(EXPECT.EXECUTE);
      case CLIENT.COPY_DONE:
      case CLIENT.COPY_FAIL:
        this.#exchange.copiesSent++;
        this.#out.push(item.raw);
        return;
      case CLIENT.COPY_DATA:
        this.#out.push(item.raw);
        return;
      case CLIENT.CLOSE:
        if (item.name !== null) return this.#close(item);
        this.#out.push(item.raw);
        return this.#exchange.expect(EXPECT.CLOSE);
    }
  }

  /**
   * Always the server's to answer: what a text means may have changed since it was parsed here last, and whoever prepares it now is to
   * get an error, or the types, as of now.
   */
  #parse(item: Item): void {
    const statement = this.#variant((item.statement as SessionStatement).prepared);
    const before = item.before?.prepared ?? null;
    if (item.name === '') {
      this.#plan(statement, true);
      this.#out.push(item.raw);
      return this.#exchange.expect(EXPECT.PARSE, { statement, unnamed: true, clientName: '', before });
    }
    if (item.before !== null) return this.#parseInUse(item, item.before);
    if (this.#has(statement)) this.#forget(statement);
    this.#plan(statement, false);
    this.#out.push(statement.parse);
    this.#exchange.expect(EXPECT.PARSE, { statement, unnamed: false, clientName: item.name, before }, item.name);
  }

  /** The name stands for another statement: the server has that one, and refuses. */
  #parseInUse(item: Item, inUse: SessionStatement): void {
    const statement = this.#variant(inUse.prepared);
    this.#require({ ...item, statement: inUse });
    const body = item.raw.subarray(item.raw.indexOf(0, 5) + 1);
    this.#out.push(parseMessage(statement.serverName, body));
    this.#exchange.expect(EXPECT.PARSE_REFUSED, null, item.name);
  }

  #close(item: Item): void {
    const before = item.before?.prepared ?? null;
    // without a statement there is nothing to undo
    const entry = before && { statement: before, unnamed: false, clientName: item.name, before };
    this.#exchange.expect(EXPECT.CLOSE_SYNTH, entry);
  }

  #forget(statement: PreparedStatement): void {
    this.#exchange.changesStatements = true;
    this.#out.push(closeStatement(statement.serverName));
    this.#exchange.expect(EXPECT.CLOSE_SKIP, ours(statement, false));
  }

  /** Puts a Parse in where the server connection lacks the statement. */
  #require(item: Item): void {
    if (item.statement === null) return;
    const statement = this.#variant(item.statement.prepared);
    if (item.name === '') {
      if (this.#unnamed === statement) return;
      this.#plan(statement, true);
      this.#out.push(parseMessage('', statement.body));
      this.#exchange.expect(EXPECT.PARSE_SKIP, ours(statement, true));
      return;
    }
    if (this.#has(statement)) return;
    this.#plan(statement, false);
    this.#out.push(statement.parse);
    this.#exchange.expect(EXPECT.PARSE_SKIP, ours(statement, false));
  }

  /** Null where the client's name stands: the empty one, or one that may be known from SQL. */
  #serverName(item: Item): string | null {
    // without a statement of that name the session must not get that of another
    const unknown = item.statement === null;
    if (unknown) return item.name === '' || item.name?.startsWith(SHARED_PREFIX) ? NOBODYS + item.name : null;
    return item.name === '' ? null : this.#variant(item.statement.prepared).serverName;
  }

  /** Where to note what a Describe tells; null: nobody relies on it, the unnamed statement is prepared for each use. */
  #entry({ name }: Item, statement: SessionStatement): StatementEntry | null {
    if (name === '') return null;
    return { ...ours(this.#variant(statement.prepared), false), told: statement.told };
  }

  #portalEntry({ raw }: Item): StatementEntry | null {
    const bind = this.#bind;
    if (bind === null || bind.statement === null) return null;
    const portal = bind.raw.subarray(5, bind.raw.indexOf(0, 5) + 1);
    return portal.equals(raw.subarray(6)) ? this.#entry(bind, bind.statement) : null;
  }

  #has(statement: PreparedStatement): boolean {
    const { planned, forgets } = this.#exchange;
    return planned?.has(statement.id) === true || (!forgets && this.#connection.statements.use(statement));
  }

  #plan(statement: PreparedStatement, unnamed: boolean): void {
    if (unnamed) {
      this.#unnamed = statement;
      this.#exchange.unnamedPlanned = statement;
    } else {
      this.#exchange.changesStatements = true;
      this.#exchange.planned ??= new Set();
      this.#exchange.planned.add(statement.id);
    }
  }

  evict(): void {
    if (this.#exchange.forgets) return;
    const { statements } = this.#connection;
    let surplus = statements.size + (this.#exchange.planned?.size ?? 0) - MAX_PREPARED;
    for (const statement of statements.oldestFirst()) {
      if (surplus-- <= 0) break;
      // at the end of the batch, so that nothing in it still needs the statement; forgotten when the server says that it is gone
      this.#forget(statement);
    }
  }
}

/** Of a message that we put in: the client's names do not change. */
function ours(statement: PreparedStatement, unnamed: boolean): StatementEntry {
  return { statement, unnamed, clientName: null, before: null };
}

/** The types of FETCH and EXECUTE are those of what they name. */
function isRelied({ told, prepared }: SessionStatement): boolean {
  return (told.row !== null || told.parameters !== null) && !prepared.own;
}

function rewrittenBind(item: Item, serverName: string | null): Buffer {
  if (serverName === null) return item.raw;
  const portalEnd = item.raw.indexOf(0, 5) + 1;
  const nameEnd = item.raw.indexOf(0, portalEnd) + 1;
  const name = cstrings(serverName);
  const out = message(CLIENT.BIND, Buffer.concat([item.raw.subarray(5, portalEnd), name, item.raw.subarray(nameEnd)]));
  if (item.wholeLength !== null) out.writeInt32BE(item.wholeLength - 1 + name.length - (nameEnd - portalEnd), 1);
  return out;
}

function rewrittenDescribe(item: Item, serverName: string | null): Buffer {
  if (serverName === null) return item.raw;
  return describeStatement(serverName);
}

export function describeStatement(serverName: string): Buffer {
  return message(CLIENT.DESCRIBE, Buffer.concat([Buffer.from('S'), cstrings(serverName)]));
}
