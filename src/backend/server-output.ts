import type { Socket } from 'node:net';
import { joinAdjacent } from '../wire/adjacent.ts';

/** Writes up to this many bytes are joined into one buffer; larger ones go as they are. */
const JOIN_BYTES = 64 * 1024;

/** What goes to one server: requests of one event-loop turn, perhaps of many sessions, are written with one system call. */
export class ServerOutput {
  readonly #socket: Socket;
  readonly #flushed: () => void;
  #out: Buffer[] = [];
  #bytes = 0;
  #scheduled = false;
  #ended = false;
  #onDrain: (() => void) | null = null;

  /** @param flushed called when bytes go to the socket: from then on the server may act on them */
  constructor(socket: Socket, flushed: () => void) {
    this.#socket = socket;
    this.#flushed = flushed;
    socket.on('drain', () => {
      const then = this.#onDrain;
      this.#onDrain = null;
      then?.();
    });
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#flush();
  };

  write(buffers: readonly Buffer[]): void {
    for (const buffer of buffers) {
      this.#out.push(buffer);
      this.#bytes += buffer.length;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  /** True when the server reads slower than we write; `then` runs when it has caught up. */
  congested(then: () => void): boolean {
    if (this.#bytes > JOIN_BYTES * 4) this.#flush();
    if (!this.#socket.writableNeedDrain) return false;
    this.#onDrain = then;
    return true;
  }

  /** Forgets what was not written. */
  end(): void {
    this.#ended = true;
    this.#out = [];
    this.#onDrain = null;
  }

  #flush(): void {
    if (this.#ended || this.#out.length === 0) return;
    // copied data comes as many messages of one chunk
    const out = joinAdjacent(this.#out);
    const bytes = this.#bytes;
    this.#out = [];
    this.#bytes = 0;
    this.#flushed();
    if (out.length === 1) this.#socket.write(out[0] as Buffer);
    else if (bytes <= JOIN_BYTES) this.#socket.write(Buffer.concat(out, bytes));
    else {
      this.#socket.cork();
      for (const buffer of out) this.#socket.write(buffer);
      this.#socket.uncork();
    }
  }
}
