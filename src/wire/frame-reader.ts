import { HEADER_BYTES } from './message-type.ts';

/** Who gets the messages. Returning false stops the reader after this message until `resume()`. */
export type FrameSink = {
  /** A whole message: type byte at `start`, payload from `start + 5` to `end`. The buffer must not be kept without a copy of the range. */
  message(type: number, buffer: Buffer, start: number, end: number): boolean;
  /**
   * A stretch of a message too large to be collected. `length` is that of the whole message with its type byte; `offset` how much of
   * it came before. Offset 0 carries at least `limit` bytes.
   */
  piece(type: number, length: number, offset: number, buffer: Buffer, start: number, end: number): boolean;
  /** The bytes are not of the protocol; nothing further is read. */
  violation(reason: string): void;
};

const NONE: ReadonlySet<number> = new Set();

/** PostgreSQL takes no longer message (MaxAllocSize); a rewritten one may grow a little without overflowing its length. */
const MAX_MESSAGE_BYTES = 0x3fffffff;

/**
 * Cuts a byte stream into messages. A message that lies whole in its chunk is not copied; one that is split is assembled once in a
 * buffer of its full size; one above `limit` is passed on in pieces, so that memory is bounded whatever a client sends.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #limit: number;
  readonly #streamed: ReadonlySet<number>;
  /** Chunks that came while stopped; null: none. */
  #backlog: Buffer[] | null = null;
  #backlogBytes = 0;
  #stopped = false;
  #reading = false;
  #dead = false;
  /** A split message under assembly: its buffer (of `limit` bytes for a larger one), or fewer than five bytes of its header. */
  #partial: Buffer | null = null;
  #filled = 0;
  /** Rest of a message passed on in pieces. */
  #streamType = 0;
  #streamLength = 0;
  #streamOffset = 0;

  /**
   * @param limit bytes of the largest message that is collected; at least a header's
   * @param streamed types that may be larger; for any other a larger message is a violation, which is noticed at its header
   */
  constructor(sink: FrameSink, limit: number, streamed: ReadonlySet<number> = NONE) {
    this.#sink = sink;
    this.#limit = limit;
    this.#streamed = streamed;
  }

  /** Bytes that wait because the sink said stop. */
  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  feed(chunk: Buffer): void {
    if (this.#dead) return;
    if (this.#stopped || this.#reading) {
      this.#backlog ??= [];
      this.#backlog.push(chunk);
      this.#backlogBytes += chunk.length;
      return;
    }
    this.#run(chunk);
  }

  /** Stops after the message at hand, as if the sink had said so. */
  stop(): void {
    this.#stopped = true;
  }

  /** Goes on after a stop. Safe to call from inside the sink, which must then return true. */
  resume(): void {
    this.#stopped = false;
    if (this.#reading || this.#dead || this.#backlogBytes === 0) return;
    const next = this.#next();
    if (next !== undefined) this.#run(next);
  }

  /** What waits, for another reader to go on with; null when there is nothing. */
  takeBacklog(): Buffer | null {
    const backlog = this.#backlog;
    this.end();
    return backlog === null ? null : Buffer.concat(backlog);
  }

  /** Reads nothing further and forgets what waits. */
  end(): void {
    this.#dead = true;
    this.#backlog = null;
    this.#backlogBytes = 0;
    this.#partial = null;
  }

  #run(first: Buffer): void {
    this.#reading = true;
    let chunk: Buffer | undefined = first;
    while (chunk !== undefined) {
      const rest = this.#read(chunk);
      if (this.#dead) break;
      if (this.#stopped) {
        if (rest < chunk.length) {
          const left = chunk.subarray(rest);
          this.#backlog ??= [];
          this.#backlog.unshift(left);
          this.#backlogBytes += left.length;
        }
        break;
      }
      chunk = this.#next();
    }
    this.#reading = false;
  }

  #next(): Buffer | undefined {
    const chunk = this.#backlog?.shift();
    if (chunk !== undefined) this.#backlogBytes -= chunk.length;
    if (this.#backlogBytes === 0) this.#backlog = null;
    return chunk;
  }

  /** @returns how far it came; less than the chunk's length only when stopped or dead. */
  #read(chunk: Buffer): number {
    let pos = 0;
    const size = chunk.length;
    while (pos < size) {
      if (this.#streamOffset < this.#streamLength) {
        const take = Math.min(size - pos, this.#streamLength - this.#streamOffset);
        const offset = this.#streamOffset;
        this.#streamOffset += take;
        if (this.#streamOffset === this.#streamLength) this.#streamLength = this.#streamOffset = 0;
        const total = this.#streamLength === 0 ? offset + take : this.#streamLength;
        this.#settle(this.#sink.piece(this.#streamType, total, offset, chunk, pos, pos + take));
        pos += take;
        if (this.#stopped || this.#dead) return pos;
        continue;
      }
      if (this.#partial !== null) {
        pos = this.#assemble(chunk, pos);
        if (this.#stopped || this.#dead) return pos;
        continue;
      }
      if (size - pos < HEADER_BYTES) {
        this.#partial = Buffer.allocUnsafe(HEADER_BYTES);
        this.#filled = chunk.copy(this.#partial, 0, pos);
        return size;
      }
      const length = lengthAt(chunk, pos);
      if (!this.#sane(chunk[pos] as number, length)) return pos;
      if (length <= size - pos) {
        this.#settle(this.#sink.message(chunk[pos] as number, chunk, pos, pos + length));
        pos += length;
      } else if (length > this.#limit && size - pos >= this.#limit) {
        this.#stream(chunk[pos] as number, length);
      } else {
        this.#partial = Buffer.allocUnsafe(Math.min(length, this.#limit));
        this.#filled = chunk.copy(this.#partial, 0, pos);
        return size;
      }
      if (this.#stopped || this.#dead) return pos;
    }
    return pos;
  }

  #assemble(chunk: Buffer, from: number): number {
    const partial = this.#partial as Buffer;
    const copied = chunk.copy(partial, this.#filled, from);
    this.#filled += copied;
    const pos = from + copied;
    if (this.#filled < partial.length) return pos;
    const length = lengthAt(partial, 0);
    if (!this.#sane(partial[0] as number, length)) return pos;
    const whole = Math.min(length, this.#limit);
    if (partial.length < whole) {
      // that was the header
      this.#partial = Buffer.allocUnsafe(whole);
      this.#filled = partial.copy(this.#partial);
      return pos;
    }
    this.#partial = null;
    if (whole === length) {
      this.#settle(this.#sink.message(partial[0] as number, partial, 0, length));
      return pos;
    }
    this.#stream(partial[0] as number, length);
    this.#streamOffset = whole;
    this.#settle(this.#sink.piece(partial[0] as number, length, 0, partial, 0, whole));
    return pos;
  }

  #stream(type: number, length: number): void {
    this.#streamType = type;
    this.#streamLength = length;
    this.#streamOffset = 0;
  }

  /** What the sink returns counts, whatever it called meanwhile. */
  #settle(goOn: boolean): void {
    if (!goOn) this.#stopped = true;
  }

  #sane(type: number, length: number): boolean {
    const most = this.#streamed.has(type) ? MAX_MESSAGE_BYTES : this.#limit;
    if (length >= HEADER_BYTES && length <= most) return true;
    this.end();
    this.#sink.violation(
      length < HEADER_BYTES
        ? `message length ${length - 1}`
        : `message of type ${String.fromCharCode(type)} with ${length - 1} bytes`,
    );
    return false;
  }
}

/** Length of the message at `pos` with its type byte; negative lengths stay negative. */
export function lengthAt(buffer: Buffer, pos: number): number {
  return (
    1 +
    (((buffer[pos + 1] as number) << 24) |
      ((buffer[pos + 2] as number) << 16) |
      ((buffer[pos + 3] as number) << 8) |
      (buffer[pos + 4] as number))
  );
}
