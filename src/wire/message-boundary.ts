import { HEADER_BYTES } from './message-type.ts';

/** Follows a stream of messages that is passed on as it comes, to know where one ends. */
export class MessageBoundary {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** Bytes of the header at hand that have come. */
  #headerBytes = 0;
  /** Bytes of the message at hand that are to come. */
  #left = 0;

  /** True when what has passed ends with a whole message. */
  get between(): boolean {
    return this.#left === 0 && this.#headerBytes === 0;
  }

  pass(chunk: Buffer): void {
    let pos = 0;
    while (pos < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - pos);
        this.#left -= taken;
        pos += taken;
        continue;
      }
      const copied = chunk.copy(this.#header, this.#headerBytes, pos, pos + HEADER_BYTES - this.#headerBytes);
      pos += copied;
      this.#headerBytes += copied;
      if (this.#headerBytes < HEADER_BYTES) return;
      this.#headerBytes = 0;
      this.#left = Math.max(0, this.#header.readUInt32BE(1) - 4);
    }
  }
}
