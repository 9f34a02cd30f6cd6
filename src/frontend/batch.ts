import { EXPECT, type Exchange } from '../backend/exchange.ts';
import { closeStatement, type PreparedStatement, unnamedParse } from '../backend/prepared-statement.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import type { Verdict } from '../sql/verdict.ts';
import { CLIENT } from '../wire/message-type.ts';
import { cstrings, FLUSH, message, SYNC } from '../wire/writer.ts';

/** A statement as a session knows it. */
export type SessionStatement = {
  readonly prepared: PreparedStatement;
  readonly verdict: Verdict;
};

/** One message of the extended protocol, with the statement it is about. */
type Item = {
  readonly type: number;
  readonly raw: Buffer;
  /** Statement name as the client wrote it; null where the message has none. */
  readonly name: string | null;
  readonly statement: SessionStatement | null;
  /** Length of the whole message where `raw` is only its beginning. */
  readonly wholeLength: number | null;
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
  /** Verdicts of the statements that run, else of those only parsed. */
  readonly verdicts: Verdict[] = [];
  #executes = false;
  #binds = false;

  get empty(): boolean {
    return this.#items.length === 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True when something in it runs. */
  get executes(): boolean {
    return this.#executes || this.#binds;
  }

  items(): readonly Item[] {
    return this.#items;
  }

  add(type: number, raw: Buffer, name: string | null, statement: SessionStatement | null): void {
    this.#items.push({ type, raw, name, statement, wholeLength: null });
    this.#bytes += raw.length;
    if (type === CLIENT.EXECUTE) this.#executes = true;
    if (type === CLIENT.BIND) this.#binds = true;
    if (statement !== null && !this.verdicts.includes(statement.verdict)) this.verdicts.push(statement.verdict);
  }

  /** The beginning of a Bind whose rest is passed on behind the batch. */
  addLargeBind(raw: Buffer, wholeLength: number, name: string, statement: SessionStatement | null): void {
    this.add(CLIENT.BIND, raw, name, statement);
    this.#items.push({ ...(this.#items.pop() as Item), wholeLength });
  }

  /**
   * Bytes for one server connection; the replies they will have are added to the exchange.
   * @param end what closes this stretch
   */
  encode(connection: ServerConnection, exchange: Exchange, end: 'sync' | 'flush' | 'none'): Buffer[] {
    const out: Buffer[] = [];
    const encoder = new Encoder(connection, exchange, out);
    for (const item of this.#items) encoder.item(item);
    if (this.#items.at(-1)?.wholeLength == null) encoder.evict();
    // nothing may stand between the beginning of a long Bind and its rest
    if (this.#items.at(-1)?.wholeLength != null) return out;
    if (end === 'sync') out.push(SYNC);
    else if (end === 'flush') out.push(FLUSH);
    return out;
  }
}

class Encoder {
  readonly #connection: ServerConnection;
  readonly #exchange: Exchange;
  readonly #out: Buffer[];
  #unnamed: PreparedStatement | null;

  constructor(connection: ServerConnection, exchange: Exchange, out: Buffer[]) {
    this.#connection = connection;
    this.#exchange = exchange;
    this.#out = out;
    this.#unnamed = exchange.unnamedPlanned ?? connection.unnamed;
  }

  item(item: Item): void {
    switch (item.type) {
      case CLIENT.PARSE:
        return this.#parse(item);
      case CLIENT.BIND:
        this.#require(item);
        this.#out.push(rewrittenBind(item));
        return this.#exchange.expect(EXPECT.BIND);
      case CLIENT.DESCRIBE:
        if (item.name === null) {
          this.#out.push(item.raw);
          return this.#exchange.expect(EXPECT.DESCRIBE_PORTAL);
        }
        this.#require(item);
        this.#out.push(rewrittenDescribe(item));
        return this.#exchange.expect(EXPECT.DESCRIBE_STATEMENT);
      case CLIENT.EXECUTE:
        this.#out.push(item.raw);
        return this.#exchange.expect(EXPECT.EXECUTE);
      case CLIENT.CLOSE:
        if (item.name !== null) return this.#exchange.expect(EXPECT.CLOSE_SYNTH);
        this.#out.push(item.raw);
        return this.#exchange.expect(EXPECT.CLOSE);
    }
  }

  #parse(item: Item): void {
    const statement = (item.statement as SessionStatement).prepared;
    if (item.name === '') {
      this.#plan(statement, true);
      this.#out.push(item.raw);
      this.#exchange.expect(EXPECT.PARSE, { statement, unnamed: true, clientName: '' });
    } else if (this.#has(statement)) {
      this.#exchange.expect(EXPECT.PARSE_SYNTH, { statement, unnamed: false, clientName: item.name });
    } else {
      this.#plan(statement, false);
      this.#out.push(statement.parse);
      this.#exchange.expect(EXPECT.PARSE, { statement, unnamed: false, clientName: item.name });
    }
  }

  /** Puts a Parse in where the server connection lacks the statement. */
  #require(item: Item): void {
    if (item.statement === null) return;
    const statement = item.statement.prepared;
    if (item.name === '') {
      if (this.#unnamed === statement) return;
      this.#plan(statement, true);
      this.#out.push(unnamedParse(statement));
      this.#exchange.expect(EXPECT.PARSE_SKIP, { statement, unnamed: true, clientName: null });
      return;
    }
    if (this.#has(statement)) return;
    this.#plan(statement, false);
    this.#out.push(statement.parse);
    this.#exchange.expect(EXPECT.PARSE_SKIP, { statement, unnamed: false, clientName: null });
  }

  #has(statement: PreparedStatement): boolean {
    return this.#connection.touch(statement) || this.#exchange.planned.has(statement.id);
  }

  #plan(statement: PreparedStatement, unnamed: boolean): void {
    if (unnamed) {
      this.#unnamed = statement;
      this.#exchange.unnamedPlanned = statement;
    } else this.#exchange.planned.add(statement.id);
  }

  evict(): void {
    const { prepared } = this.#connection;
    for (const [id, statement] of prepared) {
      if (prepared.size <= MAX_PREPARED) break;
      if (this.#exchange.planned.has(id)) continue;
      prepared.delete(id);
      // at the end of the batch, so that nothing in it still needs the statement; an error before it only leaves the statement there
      this.#out.push(closeStatement(statement.serverName));
      this.#exchange.expect(EXPECT.CLOSE_SKIP);
    }
  }
}

function rewrittenBind(item: Item): Buffer {
  if (item.statement === null || item.name === '') return item.raw;
  const portalEnd = item.raw.indexOf(0, 5) + 1;
  const nameEnd = item.raw.indexOf(0, portalEnd) + 1;
  const name = cstrings(item.statement.prepared.serverName);
  const out = message(CLIENT.BIND, Buffer.concat([item.raw.subarray(5, portalEnd), name, item.raw.subarray(nameEnd)]));
  if (item.wholeLength !== null) out.writeInt32BE(item.wholeLength - 1 + name.length - (nameEnd - portalEnd), 1);
  return out;
}

function rewrittenDescribe(item: Item): Buffer {
  if (item.statement === null || item.name === '') return item.raw;
  return message(CLIENT.DESCRIBE, Buffer.concat([Buffer.from('S'), cstrings(item.statement.prepared.serverName)]));
}
