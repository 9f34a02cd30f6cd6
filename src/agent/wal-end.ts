import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { formatLsn, type Lsn } from '../core/lsn.ts';
import type { TimelineStep } from '../failover/timeline-history.ts';

const SEGMENT = /^[0-9A-F]{24}$/;
const PAGE_BYTES = 8192n;
/** Of a page header: its own address (XLogPageHeaderData in xlog_internal.h). */
const PAGE_ADDRESS_AT = 8;

/**
 * Whether a data directory has WAL beyond the point at which its timeline was left. A page of WAL is zero behind its last record, and
 * one that was never written has another address.
 * @param history the ancestors of the primary's timeline
 * @returns null: all that it has is part of that history; else why not
 */
export function walBeyond(dataDirectory: string, history: readonly TimelineStep[]): string | null {
  const directory = join(dataDirectory, 'pg_wal');
  const newest = readdirSync(directory)
    .filter((name) => SEGMENT.test(name))
    .sort()
    .at(-1);
  if (newest === undefined) return 'it has no WAL';
  const timeline = Number.parseInt(newest.slice(0, 8), 16);
  const step = history.find((one) => one.timeline === timeline);
  if (step === undefined) return `its timeline ${timeline} is none that the primary's descends from`;
  const { endLsn } = step;
  const segmentBytes = sizeOf(join(directory, newest));
  const page = pageAt(join(directory, segmentName(timeline, endLsn, segmentBytes)), endLsn % segmentBytes);
  if (page === null || page.readBigUInt64LE(PAGE_ADDRESS_AT) !== endLsn - (endLsn % PAGE_BYTES)) return null;
  const at = Number(endLsn % PAGE_BYTES);
  // a record begins with its length
  if (at !== 0 && page.readUInt32LE(at) === 0) return null;
  return `it has WAL beyond ${formatLsn(endLsn)}, where timeline ${timeline} was left`;
}

export function segmentName(timeline: number, lsn: Lsn, segmentBytes: bigint): string {
  const index = lsn / segmentBytes;
  const perFile = 0x1_0000_0000n / segmentBytes;
  return [BigInt(timeline), index / perFile, index % perFile]
    .map((part) => part.toString(16).toUpperCase().padStart(8, '0'))
    .join('');
}

function sizeOf(file: string): bigint {
  const descriptor = openSync(file, 'r');
  try {
    return BigInt(fstatSync(descriptor).size);
  } finally {
    closeSync(descriptor);
  }
}

/** The page around an offset in a segment; null when there is none. */
function pageAt(file: string, offset: bigint): Buffer | null {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return null;
  }
  try {
    const page = Buffer.alloc(Number(PAGE_BYTES));
    const read = readSync(descriptor, page, 0, page.length, Number(offset - (offset % PAGE_BYTES)));
    return read === page.length ? page : null;
  } finally {
    closeSync(descriptor);
  }
}
