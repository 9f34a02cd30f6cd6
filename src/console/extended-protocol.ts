import { FairleadError } from '../core/errors.ts';
import { stringEnd } from '../wire/fields.ts';
import { CLIENT } from '../wire/message-type.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  EMPTY_QUERY,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
  PORTAL_SUSPENDED,
} from '../wire/writer.ts';
import type { Outcome } from './command.ts';
import { type Resolved, resolve } from './commands.ts';
import { describeRows, encodeNotices, encodeRows } from './result.ts';
import { readStatements } from './statement.ts';
import { spreadFormats } from './table.ts';

/** A client that prepares more than this forgot to close. */
const MAX_STATEMENTS = 1000;
const STATEMENT = 0x53; // 'S'

/** Null is an empty statement. */
type Prepared = Resolved | null;

type Portal = {
  readonly prepared: Prepared;
  readonly formats: readonly number[];
  /** Set by the first Execute. */
  outcome: Outcome | null;
  sent: number;
};

/** Statements and portals of one client: enough of the extended protocol for commands without parameters. */
export class ExtendedProtocol {
  readonly #run: (resolved: Resolved) => Promise<Outcome>;
  readonly #statements = new Map<string, Prepared>();
  readonly #portals = new Map<string, Portal>();

  constructor(run: (resolved: Resolved) => Promise<Outcome>) {
    this.#run = run;
  }

  /** The transaction that portals live in ends at Sync. */
  sync(): void {
    this.#portals.clear();
  }

  /**
   * @param buffer one whole message
   * @returns what to answer
   * @throws FairleadError; the client's messages up to Sync are then skipped
   */
  async handle(type: number, buffer: Buffer): Promise<Buffer> {
    switch (type) {
      case CLIENT.PARSE:
        return this.#parse(buffer);
      case CLIENT.BIND:
        return this.#bind(buffer);
      case CLIENT.DESCRIBE:
        return this.#describe(buffer);
      case CLIENT.EXECUTE:
        return this.#execute(buffer);
      default:
        return this.#close(buffer);
    }
  }

  #parse(buffer: Buffer): Buffer {
    const [name, textStart] = readString(buffer, 5);
    const [text] = readString(buffer, textStart);
    const statements = readStatements(text);
    if (statements.length > 1) {
      throw new FairleadError('unknown_command', 'cannot insert multiple commands into a prepared statement');
    }
    if (this.#statements.size >= MAX_STATEMENTS && !this.#statements.has(name)) {
      throw new FairleadError('unsupported', `more than ${MAX_STATEMENTS} prepared statements`, 'close some of them');
    }
    const statement = statements[0];
    this.#statements.set(name, statement === undefined ? null : resolve(statement));
    return PARSE_COMPLETE;
  }

  #bind(buffer: Buffer): Buffer {
    const [portal, nameStart] = readString(buffer, 5);
    const [name, countAt] = readString(buffer, nameStart);
    const [given, parametersAt] = readShorts(buffer, countAt);
    if (readShort(buffer, parametersAt) !== 0 || given.length > 1) {
      throw new FairleadError(
        'unsupported',
        'commands of the console take no parameters',
        'write the value into the command',
      );
    }
    const [formats] = readShorts(buffer, parametersAt + 2);
    if (this.#portals.size >= MAX_STATEMENTS) {
      throw new FairleadError('unsupported', `more than ${MAX_STATEMENTS} portals`, 'send Sync');
    }
    this.#portals.set(portal, { prepared: this.#statement(name), formats, outcome: null, sent: 0 });
    return BIND_COMPLETE;
  }

  #describe(buffer: Buffer): Buffer {
    const [name] = readString(buffer, 6);
    if (buffer[5] === STATEMENT) {
      const prepared = this.#statement(name);
      return Buffer.concat([NO_PARAMETERS, rowsOrNone(prepared, [])]);
    }
    const { prepared, formats } = this.#portal(name);
    return rowsOrNone(prepared, formats);
  }

  async #execute(buffer: Buffer): Promise<Buffer> {
    const [name, limitAt] = readString(buffer, 5);
    if (limitAt + 4 > buffer.length) throw malformed();
    const limit = buffer.readInt32BE(limitAt);
    const portal = this.#portal(name);
    const { prepared } = portal;
    if (prepared === null) return EMPTY_QUERY;
    const out: Buffer[] = [];
    if (portal.outcome === null) {
      portal.outcome = await this.#run(prepared);
      out.push(encodeNotices(portal.outcome));
    }
    const { rows, tag } = portal.outcome;
    const until = limit > 0 ? Math.min(rows.length, portal.sent + limit) : rows.length;
    const { columns } = prepared.command;
    if (columns !== null) out.push(encodeRows(columns, rows.slice(portal.sent, until), portal.formats));
    portal.sent = until;
    out.push(limit > 0 && until < rows.length ? PORTAL_SUSPENDED : commandComplete(tag));
    return Buffer.concat(out);
  }

  #close(buffer: Buffer): Buffer {
    const [name] = readString(buffer, 6);
    if (buffer[5] === STATEMENT) this.#statements.delete(name);
    else this.#portals.delete(name);
    return CLOSE_COMPLETE;
  }

  #statement(name: string): Prepared {
    const prepared = this.#statements.get(name);
    if (prepared !== undefined) return prepared;
    throw new FairleadError('protocol_violation', `prepared statement "${name}" does not exist`, 'prepare it first');
  }

  #portal(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal !== undefined) return portal;
    throw new FairleadError('protocol_violation', `portal "${name}" does not exist`, 'bind it first');
  }
}

function rowsOrNone(prepared: Prepared, formats: readonly number[]): Buffer {
  const columns = prepared?.command.columns ?? null;
  if (columns === null) return NO_DATA;
  return describeRows(columns, spreadFormats(formats, Object.keys(columns).length));
}

function malformed(): FairleadError {
  return new FairleadError('protocol_violation', 'malformed message');
}

/** @returns the string at `start`, and where what follows it begins. */
function readString(buffer: Buffer, start: number): readonly [string, number] {
  const end = start >= buffer.length ? -1 : stringEnd(buffer, start, buffer.length);
  if (end === -1) throw malformed();
  return [buffer.toString('utf8', start, end), end + 1];
}

function readShort(buffer: Buffer, at: number): number {
  if (at + 2 > buffer.length) throw malformed();
  return buffer.readUInt16BE(at);
}

function readShorts(buffer: Buffer, at: number): readonly [number[], number] {
  const count = readShort(buffer, at);
  const values: number[] = [];
  for (let i = 1; i <= count; i++) values.push(readShort(buffer, at + 2 * i));
  return [values, at + 2 + 2 * count];
}
