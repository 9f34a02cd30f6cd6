import { z } from 'zod';

const TIME_MS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_BYTES: Record<string, number> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** `10s`, `500ms`, `1.5min`; a bare number is milliseconds. PostgreSQL's own units. Null when it is neither. */
export function parseTimeMs(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(text);
  return match === null ? null : Number(match[1]) * (TIME_MS[match[2] ?? 'ms'] as number);
}

/** `64MB`, `16kB`; a bare number is bytes. Null when it is neither. */
export function parseSizeBytes(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)?\s*$/.exec(text);
  return match === null ? null : Number(match[1]) * (SIZE_BYTES[match[2] ?? 'B'] as number);
}

/** `host:port`, `[::1]:5432`, `:6432` (loopback) or a bare port. Null when the port is missing or out of range. */
export function parseAddress(text: string): { host: string; port: number } | null {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text.trim());
  if (match === null) return null;
  const port = Number(match[3]);
  return port > 65535 ? null : { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

const written = z.union([z.string(), z.number()]).transform(String);

/** A span of time in milliseconds. */
export const timeMs = written.transform((text, context) => {
  const value = parseTimeMs(text);
  if (value !== null) return value;
  context.addIssue({ code: 'custom', message: `"${text}" is not a time; write 500ms, 10s or 5min` });
  return z.NEVER;
});

/** A size in bytes. */
export const sizeBytes = written.transform((text, context) => {
  const value = parseSizeBytes(text);
  if (value !== null) return value;
  context.addIssue({ code: 'custom', message: `"${text}" is not a size; write 64MB or 16kB` });
  return z.NEVER;
});

export const address = written.transform((text, context) => {
  const value = parseAddress(text);
  if (value !== null) return value;
  context.addIssue({ code: 'custom', message: `"${text}" is not an address; write HOST:PORT` });
  return z.NEVER;
});

/** A limit on lag, in time or in bytes of WAL: exactly one of the two is set. */
export const lagLimit = written.transform((text, context): LagLimit => {
  const ms = /[kMGT]?B\s*$/.test(text) ? null : parseTimeMs(text);
  if (ms !== null) return { ms, bytes: null };
  const bytes = parseSizeBytes(text);
  if (bytes !== null) return { ms: null, bytes };
  context.addIssue({ code: 'custom', message: `"${text}" is neither a time nor a size; write 10s or 64MB` });
  return z.NEVER;
});

export type LagLimit = { readonly ms: number | null; readonly bytes: number | null };
export type Address = { readonly host: string; readonly port: number };
