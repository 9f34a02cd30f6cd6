import { nowMs } from '../core/clock.ts';
import { Queue } from '../core/queue.ts';
import type { Exchange, ExchangeOwner } from './exchange.ts';

/** Exchanges in flight on one server connection: replies belong to the head. */
export class ExchangeQueue {
  readonly #queue = new Queue<Exchange>();
  /** How many at the end have not been written. */
  #unsent = 0;
  /** When the last one was through, monotonic milliseconds. */
  #shiftedMs = 0;
  /** How many of them change which statements the server connection has under names. */
  #changing = 0;

  get length(): number {
    return this.#queue.length;
  }

  get head(): Exchange | undefined {
    return this.#queue.peek();
  }

  get changesStatements(): boolean {
    return this.#changing > 0;
  }

  push(exchange: Exchange): void {
    this.#queue.push(exchange);
    this.#unsent++;
    exchange.changesCounted = exchange.changesStatements;
    if (exchange.changesCounted) this.#changing++;
  }

  /** The bytes of all of them go to the socket: from now on the server may act on them. */
  markSent(): void {
    if (this.#unsent === 0) return;
    const atMs = nowMs();
    const { length } = this.#queue;
    for (let i = Math.max(0, length - this.#unsent); i < length; i++) {
      const exchange = this.#queue.at(i) as Exchange;
      exchange.sent = true;
      exchange.sentMs = atMs;
    }
    this.#unsent = 0;
  }

  /** The one at the head is through; how long that took is noted. @returns monotonic milliseconds, now */
  shift(exchange: Exchange): number {
    const atMs = nowMs();
    exchange.pace?.measured(this.busyMs(exchange, atMs));
    this.#queue.shift();
    this.#shiftedMs = atMs;
    if (exchange.changesCounted) this.#changing--;
    return atMs;
  }

  /** For how many milliseconds the server has been at the one at the head. */
  busyMs({ sentMs }: Exchange, atMs: number): number {
    return atMs - Math.max(this.#shiftedMs, sentMs);
  }

  /** All but the one at the head are to run elsewhere: their replies reach nobody. @returns how many somebody waited for */
  displaceWaiting(): number {
    const displaced: [Exchange, ExchangeOwner][] = [];
    for (let i = 1; i < this.#queue.length; i++) {
      const exchange = this.#queue.at(i) as Exchange;
      displaced.push([exchange, exchange.owner]);
      exchange.disown();
    }
    let wanted = 0;
    for (const [exchange, owner] of displaced) {
      if (owner.displaced === undefined) continue;
      wanted++;
      owner.displaced(exchange);
    }
    return wanted;
  }

  /** Takes them all out, the head first. */
  *drain(): Iterable<Exchange> {
    for (let exchange = this.#queue.shift(); exchange !== undefined; exchange = this.#queue.shift()) yield exchange;
  }
}
