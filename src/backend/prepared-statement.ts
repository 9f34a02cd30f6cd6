import { cstrings, message } from '../wire/writer.ts';

/** A distinct (text, parameter types, settings that matter to Parse). Sessions that prepare the same share it, whatever they call it. */
export type PreparedStatement = {
  readonly id: number;
  /** Name on server connections. */
  readonly serverName: string;
  /** The same as it stands in messages, with its zero byte. */
  readonly wireName: Buffer;
  /** Query text and parameter type OIDs as in the Parse message, after the name. */
  readonly body: Buffer;
  /** Whole Parse message under the server name. */
  readonly parse: Buffer;
  /** It stands for something that only one session has: nobody else gets it. */
  readonly own: boolean;
};

/** Errors about prepared statements: what we believe of the server connection is wrong, or DDL has outdated a plan (0A000). */
export const OUTDATED: ReadonlySet<string> = new Set(['26000', '42P05', '0A000']);

/** Statements on server connections are named so; clients may not use such names. */
export const SHARED_PREFIX = 'fairlead_';

/** Put before names in that fashion that a client uses all the same: nobody has such a statement. */
export const NOBODYS = `${SHARED_PREFIX}not: `;

const MAX_SHARED = 20_000;
/** Of the texts, each of which is there three times. */
const MAX_SHARED_BYTES = 32 * 1024 * 1024;

/** All statements by content. An id is never used twice, so that a forgotten statement cannot be taken for another. */
export class PreparedStatements {
  readonly #byContent = new Map<string, PreparedStatement>();
  #bytes = 0;
  #nextId = 1;

  /**
   * @param body text, zero byte, parameter count and OIDs; copied
   * @param parseKey of the settings it is parsed under: literals are read once, at Parse
   */
  intern(body: Buffer, parseKey = ''): PreparedStatement {
    return this.#intern(body, parseKey, false);
  }

  /** A statement that is not shared, whatever its content. */
  own(body: Buffer): PreparedStatement {
    return this.#intern(body, `own ${this.#nextId}`, true);
  }

  #intern(body: Buffer, parseKey: string, own: boolean): PreparedStatement {
    const content = parseKey === '' ? body.toString('latin1') : `${parseKey}\0${body.toString('latin1')}`;
    const known = this.#byContent.get(content);
    if (known !== undefined) return known;
    const id = this.#nextId++;
    const serverName = `${SHARED_PREFIX}${id}`;
    const copy = Buffer.from(body);
    const made = Object.freeze({
      id,
      serverName,
      wireName: cstrings(serverName),
      body: copy,
      parse: parseMessage(serverName, copy),
      own,
    });
    this.#byContent.set(content, made);
    this.#bytes += content.length;
    for (const oldest of this.#byContent.keys()) {
      if (this.#byContent.size <= MAX_SHARED && this.#bytes <= MAX_SHARED_BYTES) break;
      this.#byContent.delete(oldest);
      this.#bytes -= oldest.length;
    }
    return made;
  }
}

/** @param body text, zero byte, parameter count and OIDs */
export function parseMessage(serverName: string, body: Buffer): Buffer {
  return message(0x50, Buffer.concat([cstrings(serverName), body]));
}

export function closeStatement(serverName: string): Buffer {
  return message(0x43, Buffer.concat([Buffer.from('S'), cstrings(serverName)]));
}
