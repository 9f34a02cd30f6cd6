import { cstrings, message } from '../wire/writer.ts';

/** A distinct (text, parameter types) pair. Sessions that prepare the same text share it, whatever they call it. */
export type PreparedStatement = {
  readonly id: number;
  /** Name on server connections. */
  readonly serverName: string;
  /** Query text and parameter type OIDs as in the Parse message, after the name. */
  readonly body: Buffer;
  /** Whole Parse message under the server name. */
  readonly parse: Buffer;
};

const MAX_SHARED = 20_000;

/** All statements by content. An id is never used twice, so that a forgotten statement cannot be taken for another. */
export class PreparedStatements {
  readonly #byContent = new Map<string, PreparedStatement>();
  #nextId = 1;

  /** @param body text, zero byte, parameter count and OIDs; copied. */
  intern(body: Buffer): PreparedStatement {
    const content = body.toString('latin1');
    const known = this.#byContent.get(content);
    if (known !== undefined) return known;
    const id = this.#nextId++;
    const serverName = `fairlead_${id}`;
    const copy = Buffer.from(body);
    const made = Object.freeze({
      id,
      serverName,
      body: copy,
      parse: message(0x50, Buffer.concat([cstrings(serverName), copy])),
    });
    if (this.#byContent.size >= MAX_SHARED) {
      const oldest = this.#byContent.keys().next().value;
      if (oldest !== undefined) this.#byContent.delete(oldest);
    }
    this.#byContent.set(content, made);
    return made;
  }
}

/** A Parse under the empty name. */
export function unnamedParse(statement: PreparedStatement): Buffer {
  return message(0x50, Buffer.concat([cstrings(''), statement.body]));
}

export function closeStatement(serverName: string): Buffer {
  return message(0x43, Buffer.concat([Buffer.from('S'), cstrings(serverName)]));
}
