import { Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { readDataRow, readErrorFields } from '../wire/fields.ts';
import { lengthAt } from '../wire/frame-reader.ts';
import { HEADER_BYTES, SERVER } from '../wire/message-type.ts';
import { query } from '../wire/writer.ts';

/** Rows of text, or why there are none, and the ParameterStatus messages that came with them. Called once. */
export type HiddenResult = (rows: (string | null)[][], error: FairleadError | null, parameters: Buffer[]) => void;

/** A statement of our own on a server connection, whose answer no client sees: settings applied, settings captured. */
export class HiddenQuery implements ExchangeOwner {
  readonly #done: HiddenResult;
  readonly #parts: Buffer[] = [];

  private constructor(done: HiddenResult) {
    this.#done = done;
  }

  static run(connection: ServerConnection, text: string, done: HiddenResult): void {
    const owner = new HiddenQuery(done);
    connection.submit(new Exchange(owner, false, nowMs()), [query(text)]);
  }

  reply(_exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    this.#parts.push(buffer.subarray(start, end));
  }

  copyIn(): void {}

  refused(): void {}

  finished(): void {
    const all = Buffer.concat(this.#parts);
    const rows: (string | null)[][] = [];
    const parameters: Buffer[] = [];
    let error: FairleadError | null = null;
    for (let pos = 0; pos + HEADER_BYTES <= all.length; pos += lengthAt(all, pos)) {
      const type = all[pos];
      if (type === SERVER.DATA_ROW) rows.push(readDataRow(all, pos));
      else if (type === SERVER.PARAMETER_STATUS) parameters.push(all.subarray(pos, pos + lengthAt(all, pos)));
      else if (type === SERVER.ERROR && error === null) {
        const fields = readErrorFields(all, pos, pos + lengthAt(all, pos));
        error = new FairleadError('refused', `${fields.message} (SQLSTATE ${fields.sqlState})`);
      }
    }
    this.#done(rows, error, parameters);
  }

  lost(_exchange: Exchange, error: FairleadError): void {
    this.#done([], error, []);
  }
}
