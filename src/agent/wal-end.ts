import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { formatLsn, type Lsn } from '../core/lsn.ts';
import type { TimelineStep } from '../failover/timeline-history.ts';

const SEGMENT = /^[0-9A-F]{24}$/;
const PAGE_BYTES = 8192n;
/** Of a page header: its own address (XLogPageHeaderData in xlog_internal.h). */
const PAGE_ADDRESS_AT = 8;

/** Of a record: xl_tot_len, xl_info and xl_rmid (XLogRecord in xlogrecord.h), and its alignment. */
const RECORD = { headerBytes: 24, infoAt: 16, managerAt: 17, alignment: 8 };
/** RM_STANDBY_ID in rmgrlist.h, XLOG_RUNNING_XACTS in standbydefs.h. */
const RUNNING_TRANSACTIONS = { manager: 8, info: 0x10 };

type Beyond = {
  readonly reason: string;
  /** Where in which file it is, as far as it may be taken away; null: it may not. */
  readonly snapshots: { readonly file: string; readonly offset: number; readonly bytes: number } | null;
};

/**
 * Whether a data directory has WAL of its own beyond the point at which its timeline was left. Every 15 s the background writer of a primary
 * notes which transactions run (LogStandbySnapshot). That changes no page: it does not count.
 * @param history the ancestors of the primary's timeline
 * @returns null: all else that it has is part of that history; else why not
 */
export function walBeyond(dataDirectory: string, history: readonly TimelineStep[]): string | null {
  const beyond = lookBeyond(dataDirectory, history);
  return beyond === null || beyond.snapshots !== null ? null : beyond.reason;
}

/**
 * Takes away what `walBeyond` does not count: a standby would replay it, and be beyond the point at which it has to turn. The server has to be
 * stopped. Broken off, it leaves the same, or less, to be taken away.
 * @returns whether there was anything
 */
export function cutSnapshots(dataDirectory: string, history: readonly TimelineStep[]): boolean {
  const snapshots = lookBeyond(dataDirectory, history)?.snapshots ?? null;
  if (snapshots === null) return false;
  const { file, offset, bytes } = snapshots;
  const descriptor = openSync(file, 'r+');
  try {
    writeSync(descriptor, Buffer.alloc(bytes), 0, bytes, offset);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return true;
}

/** A page of WAL is zero behind its last record, and one that was never written has another address. */
function lookBeyond(dataDirectory: string, history: readonly TimelineStep[]): Beyond | null {
  const refused = (reason: string): Beyond => ({ reason, snapshots: null });
  const directory = join(dataDirectory, 'pg_wal');
  const newest = readdirSync(directory)
    .filter((name) => SEGMENT.test(name))
    .sort()
    .at(-1);
  if (newest === undefined) return refused('it has no WAL');
  const timeline = Number.parseInt(newest.slice(0, 8), 16);
  const step = history.find((one) => one.timeline === timeline);
  if (step === undefined) return refused(`its timeline ${timeline} is none that the primary's descends from`);
  const { endLsn } = step;
  const segmentBytes = sizeOf(join(directory, newest));
  const file = join(directory, segmentName(timeline, endLsn, segmentBytes));
  const offset = endLsn % segmentBytes;
  const page = pageAt(file, offset);
  if (page === null || page.readBigUInt64LE(PAGE_ADDRESS_AT) !== endLsn - (endLsn % PAGE_BYTES)) return null;
  const at = Number(endLsn % PAGE_BYTES);
  if (at !== 0 && page.readUInt32LE(at) === 0) return null;
  const bytes = at === 0 ? 0 : snapshotBytes(page.subarray(at));
  return {
    reason: `it has WAL beyond ${formatLsn(endLsn)}, where timeline ${timeline} was left`,
    snapshots: bytes === 0 ? null : { file, offset: Number(offset), bytes },
  };
}

/** @returns the length of what is there, when that is nothing but notes of running transactions that end within the page; else 0 */
function snapshotBytes(rest: Buffer): number {
  let at = 0;
  while (at + RECORD.headerBytes <= rest.length) {
    const length = rest.readUInt32LE(at);
    if (length === 0) return rest.subarray(at).every((byte) => byte === 0) ? at : 0;
    const info = rest.readUInt8(at + RECORD.infoAt) & 0xf0;
    const manager = rest.readUInt8(at + RECORD.managerAt);
    if (manager !== RUNNING_TRANSACTIONS.manager || info !== RUNNING_TRANSACTIONS.info) return 0;
    at += Math.ceil(length / RECORD.alignment) * RECORD.alignment;
  }
  return 0;
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
