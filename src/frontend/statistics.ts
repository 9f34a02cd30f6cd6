import { type Counts, type DatabaseCounters, noCounts } from '../backend/database-counters.ts';
import { nowMs } from '../core/clock.ts';
import type { Sessions } from './sessions.ts';

/** Counts of all databases at one instant, monotonic milliseconds. */
type Snapshot = { readonly atMs: number; readonly counts: ReadonlyMap<string, Readonly<Counts>> };

/** Totals since the start, and what they have grown by since the last stretch but one began: as PgBouncer averages. */
export type DatabaseStatistics = {
  readonly database: string;
  readonly total: Readonly<Counts>;
  readonly recent: Readonly<Counts>;
  readonly recentMs: number;
};

const NONE = noCounts();

export class Statistics {
  readonly #counts: () => Iterable<readonly [database: string, Readonly<Counts>]>;
  readonly #periodMs: () => number;
  #older: Snapshot = { atMs: nowMs(), counts: new Map() };
  #newer: Snapshot = this.#older;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param counts those of each database since the start
   * @param periodMs how long a stretch is
   */
  constructor(counts: () => Iterable<readonly [database: string, Readonly<Counts>]>, periodMs: () => number) {
    this.#counts = counts;
    this.#periodMs = periodMs;
  }

  start(): void {
    this.#timer = setTimeout(
      () => {
        this.#older = this.#newer;
        this.#newer = this.#snapshot();
        this.start();
      },
      Math.max(1000, this.#periodMs()),
    ).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** By name. */
  databases(): DatabaseStatistics[] {
    const now = this.#snapshot();
    const recentMs = Math.max(1, now.atMs - this.#older.atMs);
    return [...now.counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([database, total]) => {
        return { database, total, recent: minus(total, this.#older.counts.get(database) ?? NONE), recentMs };
      });
  }

  #snapshot(): Snapshot {
    return { atMs: nowMs(), counts: new Map(this.#counts()) };
  }
}

/** Counts of each database now, with what the sessions that are there have sent and received. */
export function databaseCounts(counters: DatabaseCounters, sessions: Sessions): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const [database, known] of counters.all()) counts.set(database, { ...known });
  for (const { client } of sessions.all()) {
    const own = counts.get(client.database);
    if (own === undefined) continue;
    own.receivedBytes += client.socket.bytesRead;
    own.sentBytes += client.socket.bytesWritten;
  }
  return counts;
}

function minus(a: Readonly<Counts>, b: Readonly<Counts>): Counts {
  const out = { ...a };
  for (const key of Object.keys(out) as (keyof Counts)[]) out[key] -= b[key];
  return out;
}

/** All of them together. */
export function sumOf(all: readonly Readonly<Counts>[]): Counts {
  const out = noCounts();
  for (const one of all) for (const key of Object.keys(out) as (keyof Counts)[]) out[key] += one[key];
  return out;
}
