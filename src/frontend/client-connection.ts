import type { Socket } from 'node:net';
import { FrameReader, type FrameSink } from '../wire/frame-reader.ts';
import { CLIENT } from '../wire/message-type.ts';
import { ClientOutput } from './client-output.ts';

/** Larger messages are passed on in pieces, if they are of a kind that may be so large. */
const COLLECT_BYTES = 16 * 1024 * 1024;
const LARGE: ReadonlySet<number> = new Set([CLIENT.QUERY, CLIENT.BIND, CLIENT.COPY_DATA, CLIENT.FUNCTION_CALL]);
/** Requests that a busy session's client may send ahead before it is no longer read. */
const BACKLOG_BYTES = 256 * 1024;

/** What is left when the session ends is given up after so long without progress. */
const LINGER_MS = 10_000;

/** A client that was told the end, and goes on all the same, is not waited for any longer. */
const FAREWELL_MS = 1000;
const LONGEST_FAREWELL_MS = 60_000;

/** What happens to the socket apart from its messages. */
export type ClientEvents = {
  /** The client is gone. May be called more than once. */
  close(): void;
  /** The client has caught up with what was written. */
  drained(): void;
  /** A fault of ours: this session ends, the others do not. */
  crashed(error: unknown): void;
};

/** The socket of one client: messages in, with back-pressure; replies out. */
export class ClientConnection {
  readonly output: ClientOutput;
  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #host: FrameSink & ClientEvents;
  #ended = false;

  constructor(socket: Socket, host: FrameSink & ClientEvents) {
    this.#socket = socket;
    this.output = new ClientOutput(socket);
    this.#reader = new FrameReader(host, COLLECT_BYTES, LARGE);
    this.#host = host;
  }

  start(): void {
    this.#socket.on('data', (chunk) => this.feed(chunk));
    this.#socket.on('drain', () => this.#host.drained());
    const gone = () => this.#host.close();
    for (const event of ['error', 'end', 'close']) this.#socket.on(event, gone);
  }

  /** True while the client has not taken what was written; `drained` follows. */
  get clogged(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Bytes that were written and that the client has not taken. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  feed(chunk: Buffer): void {
    if (this.#ended) return;
    try {
      this.#reader.feed(chunk);
    } catch (error) {
      return this.#host.crashed(error);
    }
    if (this.#reader.backlogBytes > BACKLOG_BYTES) this.#socket.pause();
  }

  /** What comes from now on waits. */
  stopReading(): void {
    this.#reader.stop();
  }

  /** Goes on with what waits, and with the socket. */
  readOn(): void {
    this.#reader.resume();
    if (!this.#ended && this.#reader.backlogBytes <= BACKLOG_BYTES) this.#socket.resume();
  }

  /** The server does not keep up. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#ended) this.#socket.resume();
  }

  /**
   * Sends what is left and closes.
   * @param told the client hears why, and may not know yet: what it still sends is read and forgotten, because a socket that is closed with bytes
   * unread is reset, and what the client has not read by then is lost
   */
  end(told: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    const socket = this.#socket;
    this.#reader.end();
    this.output.flush();
    const close = () => socket.destroy();
    // whoever does not take the rest is not waited for
    socket.setTimeout(LINGER_MS, close);
    if (!told) {
      socket.end();
      return socket.destroySoon();
    }
    let timer = setTimeout(close, LONGEST_FAREWELL_MS).unref();
    socket.once('close', () => clearTimeout(timer));
    socket.end(() => {
      clearTimeout(timer);
      timer = setTimeout(close, FAREWELL_MS).unref();
    });
    socket.resume();
  }
}
