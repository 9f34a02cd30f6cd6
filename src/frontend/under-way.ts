import type { Exchange } from '../backend/exchange.ts';
import { CLIENT } from '../wire/message-type.ts';
import type { Batch } from './batch.ts';
import type { ExecutionHost } from './execution-host.ts';
import type { Link } from './link.ts';
import type { RequestReader } from './request-reader.ts';
import type { RunningStatements } from './running-statements.ts';
import type { Variant } from './variant.ts';

/** The client: not read while the server reads slower than it writes. */
type Client = Pick<ExecutionHost, 'pauseClient' | 'resumeClient' | 'violation'>;

/** The exchange of a session that is under way, and what the client adds to it: the rest of a batch, copied data, the rest of a long message. */
export class UnderWay {
  readonly #reader: RequestReader;
  readonly #statements: RunningStatements;
  readonly #variant: Variant;
  readonly #host: Client;
  #exchange: Exchange | null = null;
  #link: Link | null = null;
  #copy: 'none' | 'receiving' | 'ending' = 'none';
  /** Bytes still to come of a message that is passed on in pieces. */
  #left = 0;
  /** The long message at hand is data of a COPY that the server has ended. */
  #void = false;

  constructor(reader: RequestReader, statements: RunningStatements, variant: Variant, host: Client) {
    this.#reader = reader;
    this.#statements = statements;
    this.#variant = variant;
    this.#host = host;
  }

  get exchange(): Exchange | null {
    return this.#exchange;
  }

  /** True while a message of the client is only partly here. */
  get insideMessage(): boolean {
    return this.#left > 0;
  }

  /** True while what the client sends belongs to the exchange. */
  get wantsMore(): boolean {
    return this.#left > 0 || this.#copy !== 'none' || this.#exchange?.open === true;
  }

  begin(link: Link, exchange: Exchange): void {
    this.#link = link;
    this.#exchange = exchange;
  }

  end(): void {
    this.#link = null;
    this.#exchange = null;
    this.#copy = 'none';
    this.#left = 0;
  }

  /** The server awaits copied data. */
  copyIn(): void {
    this.#copy = 'receiving';
  }

  /** The first piece of a long message has come; `bytes` are missing. */
  expect(bytes: number): void {
    this.#left = bytes;
    this.#void = false;
  }

  message(type: number, buffer: Buffer, start: number, end: number): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (this.#copy !== 'none') return this.#copied(exchange, type, buffer.subarray(start, end));
    switch (type) {
      case CLIENT.SYNC:
        exchange.open = false;
        return this.#send(this.#reader.takeBatch(), 'sync');
      case CLIENT.FLUSH:
        return this.#send(this.#reader.takeBatch(), 'flush');
      case CLIENT.QUERY:
      case CLIENT.FUNCTION_CALL:
        return this.#query(exchange, type, buffer, start, end);
      default: {
        const fault = this.#reader.collect(type, buffer, start, end);
        if (fault !== null) this.#host.violation(fault);
        else if (this.#reader.overfull) this.#send(this.#reader.takeBatch(), 'none');
      }
    }
  }

  /** The end of what was collected does not come. */
  sendOn(): void {
    if (this.#exchange?.open === true && this.#copy === 'none') this.#send(this.#reader.takeBatch(), 'none');
  }

  /** A stretch of a message too large to be collected. */
  piece(type: number, length: number, offset: number, bytes: Buffer): void {
    const left = Math.max(0, length - offset - bytes.length);
    const early = type === CLIENT.COPY_DATA && this.#copy === 'none';
    if (offset === 0) this.#void = early && this.#exchange?.open !== true;
    if (this.#void) return;
    if (offset > 0 || this.#copy !== 'none') {
      this.#left = left;
      return this.#passOn(bytes);
    }
    if (early) this.#reader.collectLargeData(length, bytes);
    else if (type !== CLIENT.BIND || !this.#reader.collectLargeBind(length, bytes)) {
      return this.#host.violation(`${String.fromCharCode(type)} of ${length} bytes`);
    }
    this.#left = left;
    this.#send(this.#reader.takeBatch(), 'none');
  }

  #copied(exchange: Exchange, type: number, bytes: Buffer): void {
    // the server ignores a Sync that came before the data did; libpq sends one with Execute and another behind the data
    if (type === CLIENT.COPY_DONE || type === CLIENT.COPY_FAIL) this.#copy = exchange.extended ? 'ending' : 'none';
    else if (type === CLIENT.SYNC) {
      if (this.#copy === 'ending') this.#copy = 'none';
      exchange.open = false;
    }
    this.#passOn(bytes);
  }

  #send(batch: Batch, end: 'sync' | 'flush' | 'none'): void {
    const link = this.#link as Link;
    const exchange = this.#exchange as Exchange;
    this.#statements.add(batch.verdicts, batch.bound);
    link.connection.write(batch.encode(link.connection, exchange, this.#variant, end));
    if (end === 'flush') link.connection.settle(exchange);
    this.#pace(link);
  }

  /** Instead of a Sync. */
  #query(exchange: Exchange, type: number, buffer: Buffer, start: number, end: number): void {
    // after an error the server would skip it
    if (exchange.abandoned) return;
    this.#send(this.#reader.takeBatch(), 'none');
    exchange.open = false;
    const { verdicts, use } = this.#reader.queried(type, buffer, start, end);
    exchange.expectQuery(use?.deallocation ?? null);
    this.#statements.add(verdicts, verdicts);
    this.#passOn(buffer.subarray(start, end));
  }

  #passOn(bytes: Buffer): void {
    const link = this.#link;
    if (link === null) return;
    link.connection.write([bytes]);
    this.#pace(link);
  }

  #pace(link: Link): void {
    if (link.connection.congested(() => this.#host.resumeClient())) this.#host.pauseClient();
  }
}
