import type net from 'node:net';

/** A connection begins with little, and has more when it fills what it has: most read short answers. */
const FIRST_BYTES = 16 * 1024;
const MOST_BYTES = 256 * 1024;
/** What is left of a slab is not worth reading into below this. */
const LEAST_BYTES = 4 * 1024;

/**
 * Memory that a socket reads into, one stretch behind the other: for each chunk Node would otherwise take 64 kB, give most of it back and queue the rest in
 * a stream. What was read stays as it is for as long as anybody holds it; a slab is used once.
 */
class ReadSlabs {
  #slab: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #from = 0;

  /** Where the next chunk is read to. */
  next(): Buffer {
    return this.#slab.subarray(this.#from);
  }

  /** @returns what was read */
  take(bytes: number): Buffer {
    const from = this.#from;
    const slab = this.#slab;
    // so that what comes next is aligned
    this.#from = (from + bytes + 7) & ~7;
    if (slab.length - this.#from < LEAST_BYTES) {
      const filled = from + bytes === slab.length;
      this.#slab = Buffer.allocUnsafeSlow(filled ? Math.min(MOST_BYTES, slab.length * 2) : slab.length);
      this.#from = 0;
    }
    return slab.subarray(from, from + bytes);
  }
}

/** For `net.connect`: chunks come as `data` events all the same, past the stream's queue. https://nodejs.org/api/net.html#socketconnectoptions-connectlistener */
export function slabReading(socket: () => net.Socket): net.OnReadOpts {
  const slabs = new ReadSlabs();
  return {
    buffer: () => slabs.next(),
    callback(bytes) {
      socket().emit('data', slabs.take(bytes));
      return true;
    },
  };
}
