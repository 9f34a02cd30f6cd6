import type { Socket } from 'node:net';

/** Writes smaller than this are joined with what follows in the same turn. */
const JOIN_BYTES = 16 * 1024;

/** What goes to one client: small pieces of one event-loop turn are written together. */
export class ClientOutput {
  readonly #socket: Socket;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #scheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** @returns false when the client does not keep up; the socket's `drain` event says when it has. */
  write(buffer: Buffer): boolean {
    if (buffer.length >= JOIN_BYTES) {
      this.flush();
      return this.#socket.write(buffer);
    }
    this.#pending.push(buffer);
    this.#pendingBytes += buffer.length;
    if (this.#pendingBytes >= JOIN_BYTES) return this.flush();
    if (!this.#scheduled) {
      this.#scheduled = true;
      process.nextTick(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
    return !this.#socket.writableNeedDrain;
  }

  flush(): boolean {
    if (this.#pending.length === 0) return !this.#socket.writableNeedDrain;
    const all =
      this.#pending.length === 1 ? (this.#pending[0] as Buffer) : Buffer.concat(this.#pending, this.#pendingBytes);
    this.#pending = [];
    this.#pendingBytes = 0;
    return this.#socket.writable ? this.#socket.write(all) : false;
  }
}
