import { stringEnd } from './fields.ts';

/** What a Bind message carries beside its names. */
export type BindValues = {
  /** 0 text, 1 binary; none: all text, one: all like it. */
  readonly parameterFormats: readonly number[];
  readonly values: readonly (Buffer | null)[];
  readonly resultFormats: readonly number[];
};

/** @param raw a whole Bind message. @returns null when it is malformed */
export function readBind(raw: Buffer): BindValues | null {
  const portalEnd = stringEnd(raw, 5, raw.length);
  const nameEnd = portalEnd === -1 ? -1 : stringEnd(raw, portalEnd + 1, raw.length);
  if (nameEnd === -1) return null;
  try {
    let pos = nameEnd + 1;
    const formats = () => {
      const count = raw.readUInt16BE(pos);
      pos += 2;
      return Array.from({ length: count }, () => {
        pos += 2;
        return raw.readInt16BE(pos - 2);
      });
    };
    const parameterFormats = formats();
    const count = raw.readUInt16BE(pos);
    pos += 2;
    const values = Array.from({ length: count }, () => {
      const size = raw.readInt32BE(pos);
      pos += 4 + Math.max(0, size);
      return size === -1 ? null : raw.subarray(pos - size, pos);
    });
    return { parameterFormats, values, resultFormats: formats() };
  } catch {
    return null; // it ends inside a number
  }
}

/** Format of the column or parameter at `index`. */
export function formatAt(formats: readonly number[], index: number): number {
  return (formats.length === 1 ? formats[0] : formats[index]) ?? 0;
}
