/**
 * Reads the tar streams of BASE_BACKUP: plain ustar, as PostgreSQL writes it (src/port/tar.c), without extensions. A server before 15
 * leaves out the two blocks of zeros at the end.
 */
const BLOCK_BYTES = 512;

export type TarEntry = {
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'link';
  readonly mode: number;
  readonly sizeBytes: number;
};

export type TarEvent =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  /** Content of the entry before it; a part of the chunk that was fed. */
  | { readonly kind: 'data'; readonly bytes: Buffer }
  /** The entry is whole. */
  | { readonly kind: 'end' };

const KINDS: Readonly<Record<string, TarEntry['kind']>> = { '0': 'file', '\0': 'file', '5': 'directory', '2': 'link' };

/** Cuts a stream into entries, wherever its chunks end. */
export class TarReader {
  readonly #header = Buffer.alloc(BLOCK_BYTES);
  #filled = 0;
  #leftBytes = 0;
  #paddingBytes = 0;
  #open = false;

  /** True between entries: where a stream may end. */
  get between(): boolean {
    return !this.#open && this.#filled === 0 && this.#paddingBytes === 0;
  }

  /** @throws RangeError when it is no tar. */
  *read(chunk: Buffer): Generator<TarEvent> {
    let pos = 0;
    while (pos < chunk.length || (this.#open && this.#leftBytes === 0)) {
      if (this.#open) {
        const take = Math.min(this.#leftBytes, chunk.length - pos);
        this.#leftBytes -= take;
        if (take > 0) yield { kind: 'data', bytes: chunk.subarray(pos, pos + take) };
        pos += take;
        if (this.#leftBytes > 0) return;
        this.#open = false;
        yield { kind: 'end' };
      } else if (this.#paddingBytes > 0) {
        const skip = Math.min(this.#paddingBytes, chunk.length - pos);
        this.#paddingBytes -= skip;
        pos += skip;
      } else {
        const taken = chunk.copy(this.#header, this.#filled, pos);
        this.#filled += taken;
        pos += taken;
        if (this.#filled < BLOCK_BYTES) return;
        this.#filled = 0;
        const entry = entryOf(this.#header);
        if (entry === null) continue;
        this.#open = true;
        this.#leftBytes = entry.sizeBytes;
        this.#paddingBytes = (BLOCK_BYTES - (entry.sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
        yield { kind: 'entry', entry };
      }
    }
  }
}

/** Null for a block of zeros, of which two end an archive. */
function entryOf(header: Buffer): TarEntry | null {
  if (header.every((byte) => byte === 0)) return null;
  const stored = octal(header, 148, 8);
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  if (stored !== sum) throw new RangeError('what the server sends is no tar: a header has a wrong checksum');
  const kind = KINDS[String.fromCharCode(header[156] as number)];
  const path = text(header, 0, 100);
  if (kind === undefined) throw new RangeError(`tar entry ${path} is of an unknown kind`);
  const prefix = text(header, 345, 155);
  const sizeBytes = kind === 'file' ? sizeAt(header) : 0;
  return { path: prefix === '' ? path : `${prefix}/${path}`, kind, mode: octal(header, 100, 8) & 0o777, sizeBytes };
}

/** Octal digits, or from 8 GB on a binary number marked by the highest bit. */
function sizeAt(header: Buffer): number {
  if (((header[124] as number) & 0x80) === 0) return octal(header, 124, 12);
  return Number(header.readBigUInt64BE(128));
}

function octal(header: Buffer, start: number, length: number): number {
  const value = Number.parseInt(text(header, start, length).trim() || '0', 8);
  if (Number.isNaN(value)) throw new RangeError('what the server sends is no tar: a number is not octal');
  return value;
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? length : end);
}
