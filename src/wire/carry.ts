import { lengthAt } from './frame-reader.ts';
import { HEADER_BYTES } from './message-type.ts';

/** The beginning of a message that has to be seen whole, until the rest is there: joined once, whatever the number of chunks. */
export class Carry {
  #parts: Buffer[] = [];
  #bytes = 0;
  #wanted = 0;

  /** Keeps what is left of a chunk from `pos` on: less than a whole message. */
  keep(chunk: Buffer, pos: number): void {
    this.#parts.push(Buffer.from(chunk.subarray(pos)));
    this.#bytes = chunk.length - pos;
    this.#wanted = this.#bytes < HEADER_BYTES ? HEADER_BYTES : lengthAt(chunk, pos);
  }

  /** True while the beginning of a message is kept. */
  get pending(): boolean {
    return this.#bytes > 0;
  }

  /** How many more bytes make a message of it, or a header. */
  get missing(): number {
    return this.#wanted - this.#bytes;
  }

  /** @returns what was kept with this chunk behind it, or null while that is still less than a message. */
  join(chunk: Buffer): Buffer | null {
    if (this.#bytes === 0) return chunk;
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wanted) return null;
    const all = Buffer.concat(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    return all;
  }
}
