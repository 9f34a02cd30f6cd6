import { nowMs } from '../core/clock.ts';
import { query } from '../wire/writer.ts';
import { Exchange, type ExchangeOwner } from './exchange.ts';
import type { ServerConnection } from './server-connection.ts';

const EMPTY = query('');

/**
 * Asks a server connection with an empty query whether it lives: a firewall may have forgotten it, and then nothing tells. One that does not
 * answer in time is destroyed.
 */
export class ConnectionCheck implements ExchangeOwner {
  readonly #done: () => void;
  readonly #timer: NodeJS.Timeout;

  private constructor(connection: ServerConnection, timeoutMs: number, done: () => void) {
    this.#done = done;
    this.#timer = setTimeout(() => connection.destroy(`no sign of life within ${timeoutMs} ms`), timeoutMs);
  }

  /** @param done called once, when it has answered or is closed */
  static run(connection: ServerConnection, timeoutMs: number, done: () => void): void {
    const owner = new ConnectionCheck(connection, timeoutMs, done);
    connection.submit(new Exchange(owner, false, nowMs()), [EMPTY]);
  }

  reply(): void {}

  copyIn(): void {}

  refused(): void {}

  finished(): void {
    clearTimeout(this.#timer);
    this.#done();
  }

  lost(): void {
    clearTimeout(this.#timer);
    this.#done();
  }
}
