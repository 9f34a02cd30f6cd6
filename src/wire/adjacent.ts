/** Neighbours in memory, such as messages of one chunk that are passed on one after the other, as one buffer; nothing is copied. */
export function joinAdjacent(buffers: readonly Buffer[]): readonly Buffer[] {
  let joined: Buffer[] | null = null;
  let first = 0;
  for (let i = 1; i <= buffers.length; i++) {
    const before = buffers[i - 1] as Buffer;
    const next = buffers[i];
    if (next !== undefined && next.byteOffset === before.byteOffset + before.length && next.buffer === before.buffer) {
      continue;
    }
    if (i - first > 1 || joined !== null) {
      // what stood alone so far
      joined ??= buffers.slice(0, first);
      const { buffer, byteOffset } = buffers[first] as Buffer;
      const end = before.byteOffset + before.length;
      joined.push(i - first === 1 ? before : Buffer.from(buffer, byteOffset, end - byteOffset));
    }
    first = i;
  }
  return joined ?? buffers;
}
