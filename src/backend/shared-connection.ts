import type { Exchange } from './exchange.ts';
import type { Pace } from './pace.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SettingsSet } from './settings-set.ts';

/** A single read that may stand behind those of other sessions. */
export type Rider = {
  /** What the server connection must have. */
  readonly settings: SettingsSet;
  readonly pace: Pace | null;
  /** Whether the connection has what the request needs as it is: nothing may be prepared in the middle of the queue. */
  fits(connection: ServerConnection): boolean;
};

/** Where it belongs. */
export type SharedConnectionHost = {
  displaced: number;
  drained(shared: SharedConnection): void;
};

/** Who comes later has a connection of his own, if there is one, when so many milliseconds of work are expected on each. */
const SPREAD_MS = 0.25;
/** More is never put on one. */
const BUDGET_MS = 5;
const MOST = 128;
/** An exchange that has had the server to itself for so long, milliseconds, is not waited for. */
const STALLED_MS = 30;

/**
 * A server connection on which single reads of many sessions stand one behind the other, each with its own owner: they are written
 * together and answered in order. It is shared as long as there is one after the other; then it goes back to the pool.
 */
export class SharedConnection {
  readonly connection: ServerConnection;
  readonly settings: SettingsSet;
  readonly #host: SharedConnectionHost;
  /** Takes others. */
  #open = true;
  #expectedMs = 0;
  /** The one at the head when it was last looked at, if it had been there for long. */
  #suspect: Exchange | null = null;

  constructor(connection: ServerConnection, host: SharedConnectionHost) {
    this.connection = connection;
    this.settings = connection.settings;
    this.#host = host;
    connection.sharing = this;
  }

  /** It takes others. */
  get open(): boolean {
    return this.#open;
  }

  /** Milliseconds of work that are expected to be on it. */
  get expectedMs(): number {
    return this.#expectedMs;
  }

  /** It would not be long before the read had its turn. */
  isLight({ pace }: Rider): boolean {
    return this.#expectedMs + (pace?.ms ?? SPREAD_MS) < SPREAD_MS;
  }

  admits(rider: Rider, atMs: number): boolean {
    const { connection } = this;
    return (
      this.#open &&
      connection.depth < MOST &&
      this.#expectedMs + (rider.pace?.ms ?? BUDGET_MS) < BUDGET_MS &&
      !connection.tainted &&
      connection.retireAtMs > atMs &&
      !connection.exchanges.changesStatements &&
      !connection.cancelling &&
      rider.fits(connection)
    );
  }

  /** An exchange is about to be submitted. */
  joined(exchange: Exchange, pace: Pace): void {
    exchange.expectedMs = pace.quick ? pace.ms : 0;
    this.#expectedMs += exchange.expectedMs;
  }

  /** The exchange at the head is through. */
  answered(exchange: Exchange): void {
    // its client may not have kept up to the end
    this.connection.resume();
    this.#expectedMs -= exchange.expectedMs;
    if (this.connection.depth > 0) return;
    this.connection.sharing = null;
    this.#host.drained(this);
  }

  /** Leaves the server to the exchange at the head: those behind it run elsewhere, and nobody else comes. */
  isolate(): void {
    this.#open = false;
    this.#host.displaced += this.connection.exchanges.displaceWaiting();
  }

  /** Called every few milliseconds. What has not been answered for long holds up nobody else. */
  watch(atMs: number): void {
    const { exchanges } = this.connection;
    const { head } = exchanges;
    if (head === undefined || !head.sent) return;
    const forMs = exchanges.busyMs(head, atMs);
    if (forMs < STALLED_MS) this.#suspect = null;
    // its answer may be here and not read yet, when it is us who did nothing for long
    else if (this.#suspect !== head) this.#suspect = head;
    else {
      if (this.#open) {
        head.pace?.stalled();
        this.isolate();
      }
      // nobody is left who wants an answer, and the server may never give one
      if (head.discard) this.connection.abandon('the client is gone');
    }
  }
}
