/** WAL positions. Inside the program an LSN is a branded bigint; text ('0/16B3740') only at the edges. */

/** Byte position in the write-ahead log. Positions of different timelines do not compare beyond their fork point. */
export type Lsn = bigint & { readonly __brand: 'Lsn' };

export const LSN_ZERO = 0n as Lsn;

/** Page and segment header sizes of WAL (`SizeOfXLogShortPHD`, `SizeOfXLogLongPHD` in xlog_internal.h). */
const SHORT_PAGE_HEADER_BYTES = 24n;
const LONG_PAGE_HEADER_BYTES = 40n;

export function lsn(value: bigint): Lsn {
  return value as Lsn;
}

/** @throws RangeError when the text is not of the form `XXXXXXXX/XXXXXXXX`. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) throw new RangeError(`not an LSN: ${text}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** PostgreSQL's text form, as pg_lsn prints it. */
export function formatLsn(value: Lsn): string {
  return `${(value >> 32n).toString(16).toUpperCase()}/${(value & 0xffffffffn).toString(16).toUpperCase()}`;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

/** Bytes from `from` to `to`; 0 when `to` is not ahead. */
export function bytesBetween(from: Lsn, to: Lsn): number {
  return to > from ? Number(to - from) : 0;
}

/**
 * `pg_current_wal_insert_lsn()` names the start of the next record. At a page boundary that lies behind the next page's
 * header, where no replica arrives until the next record is written. No record ends inside a header, so the
 * header may be taken off: every record that ended at or below the insert position ended at or below the result.
 */
export function endOfLastRecord(insertLsn: Lsn, blockBytes = 8192, segmentBytes = 16 * 1024 * 1024): Lsn {
  if (insertLsn % BigInt(segmentBytes) === LONG_PAGE_HEADER_BYTES) return (insertLsn - LONG_PAGE_HEADER_BYTES) as Lsn;
  if (insertLsn % BigInt(blockBytes) === SHORT_PAGE_HEADER_BYTES) return (insertLsn - SHORT_PAGE_HEADER_BYTES) as Lsn;
  return insertLsn;
}
