import net from 'node:net';

/** Addresses that agree with `address` in the bits of `mask`. Four bytes for IPv4, sixteen for IPv6. */
export type IpRange = { readonly address: Uint8Array; readonly mask: Uint8Array };

/** An address as bytes; null when it is none. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 one. */
export function ipBytes(text: string): Uint8Array | null {
  const plain = text.replace(/%.*$/, '');
  if (net.isIPv4(plain)) return Uint8Array.from(plain.split('.').map(Number));
  if (!net.isIPv6(plain)) return null;
  const bytes = ipv6Bytes(plain);
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.subarray(12) : bytes;
}

function ipv6Bytes(text: string): Uint8Array {
  const words = text.replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => {
    const [a, b, c, d] = v4.split('.').map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head, tail] = words.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const known = [...(head ?? []), ...(tail ?? [])];
  const all = [...(head ?? []), ...Array<string>(8 - known.length).fill('0'), ...(tail ?? [])];
  return Uint8Array.from(all.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]));
}

/** Null when there are not so many bits. */
export function rangeOfPrefix(address: Uint8Array, bits: number): IpRange | null {
  if (!Number.isInteger(bits) || bits < 0 || bits > address.length * 8) return null;
  const mask = address.map((_, i) => (0xff00 >> Math.min(8, Math.max(0, bits - i * 8))) & 255);
  return { address, mask };
}

export function inRange(address: Uint8Array, { address: other, mask }: IpRange): boolean {
  if (address.length !== other.length) return false;
  return address.every((byte, i) => ((byte ^ (other[i] as number)) & (mask[i] as number)) === 0);
}
