/** Rows of a transaction are told in pieces of about this size; a row that is larger has one of its own. */
const PIECE_BYTES = 64 * 1024;
/** Before each message stands its length. */
const HEADER_BYTES = 4;

/**
 * Copies what the stream said of rows, as it said it, so that a failover can tell what was lost. Nothing is decoded: a row costs the
 * copying of its bytes. A transaction that is larger than the limit is left out.
 */
export class RowArena {
  readonly #limitBytes: number;
  #piece = new Uint8Array(0);
  #used = 0;
  /** Full ones, in order. */
  #pieces: Uint8Array<ArrayBuffer>[] = [];
  /** Copied of the open or just committed transaction, headers included. */
  #copied = 0;
  #leftOut = false;

  /** @param limitBytes of one transaction; 0: nothing is kept */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get copiedBytes(): number {
    return this.#copied;
  }

  /** The transaction was too large: what was copied of it has to be thrown away. */
  get leftOut(): boolean {
    return this.#leftOut;
  }

  begin(): void {
    this.#copied = 0;
    this.#leftOut = false;
  }

  append(message: Uint8Array): void {
    if (this.#leftOut) return;
    const size = HEADER_BYTES + message.length;
    if (this.#copied + size > this.#limitBytes) {
      this.#leftOut = true;
      return;
    }
    if (this.#used + size > this.#piece.length) this.#turn(size);
    const piece = this.#piece;
    const at = this.#used;
    const { length } = message;
    piece[at] = length & 0xff;
    piece[at + 1] = (length >>> 8) & 0xff;
    piece[at + 2] = (length >>> 16) & 0xff;
    piece[at + 3] = length >>> 24;
    piece.set(message, at + HEADER_BYTES);
    this.#used = at + size;
    this.#copied += size;
  }

  /** What was copied since the last call, in pieces that nobody else holds; also of a transaction that is still open. */
  take(): Uint8Array<ArrayBuffer>[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    // the rest of the piece is used on
    if (this.#used > 0) pieces.push(this.#piece.slice(0, this.#used));
    this.#used = 0;
    return pieces;
  }

  #turn(size: number): void {
    if (this.#used > 0) this.#pieces.push(this.#piece.subarray(0, this.#used));
    this.#piece = new Uint8Array(Math.max(PIECE_BYTES, size));
    this.#used = 0;
  }
}

/** The messages in a piece, as views of it. */
export function* messagesIn(piece: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
  for (let at = 0; at < piece.length; ) {
    const end = at + HEADER_BYTES + view.getUint32(at, true);
    yield piece.subarray(at + HEADER_BYTES, end);
    at = end;
  }
}
