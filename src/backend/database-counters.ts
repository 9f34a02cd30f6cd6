/** What PgBouncer's statistics count, per database as clients name it. Plain numbers: they are added to for every statement. */
import { EXPECT, type Exchange } from './exchange.ts';

export type Counts = {
  serverAssignments: number;
  transactions: number;
  queries: number;
  /** Milliseconds, as are all times here. */
  transactionMs: number;
  queryMs: number;
  waitMs: number;
  clientParses: number;
  serverParses: number;
  binds: number;
  logins: number;
  /** Bytes from clients and to clients of sessions that have ended; those of others are added when somebody asks. */
  receivedBytes: number;
  sentBytes: number;
};

export function noCounts(): Counts {
  return {
    serverAssignments: 0,
    transactions: 0,
    queries: 0,
    transactionMs: 0,
    queryMs: 0,
    waitMs: 0,
    clientParses: 0,
    serverParses: 0,
    binds: 0,
    logins: 0,
    receivedBytes: 0,
    sentBytes: 0,
  };
}

/** Adds what an extended exchange prepared and bound. */
export function countMessages(counts: Counts, { codes }: Exchange): void {
  for (let i = 0; i < codes.length; i++) {
    switch (codes[i]) {
      case EXPECT.PARSE:
        counts.clientParses++;
        counts.serverParses++;
        break;
      case EXPECT.PARSE_SKIP:
        counts.serverParses++;
        break;
      case EXPECT.BIND:
        counts.binds++;
        break;
    }
  }
}

/** The counts of every database that clients have used. */
export class DatabaseCounters {
  readonly #byName = new Map<string, Counts>();

  of(database: string): Counts {
    let counts = this.#byName.get(database);
    if (counts === undefined) {
      counts = noCounts();
      this.#byName.set(database, counts);
    }
    return counts;
  }

  all(): Iterable<readonly [database: string, Counts]> {
    return this.#byName;
  }
}
