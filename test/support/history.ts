/**
 * What sessions wrote and read, and whether that can be. Each writer counts up in a row of its own, in one table after the other, and only goes on
 * when the write before was acknowledged: so its counts never rise from one table to the next, at no moment and in nobody's eyes.
 */

/** Tables in the order in which every writer writes to them. */
export type Tables = readonly string[];

export type Write = {
  readonly kind: 'write';
  readonly session: number;
  readonly table: number;
  readonly value: number;
  readonly startedMs: number;
  readonly endedMs: number;
  /** `unknown`: it may have happened, or happen yet. */
  readonly outcome: 'ok' | 'failed' | 'unknown';
};

export type Read = {
  readonly kind: 'read';
  readonly session: number;
  readonly level: 'eventual' | 'session' | 'strong';
  readonly startedMs: number;
  readonly endedMs: number;
  /** By table, then by writer; tables that were not read are left out. All of it comes from one statement. */
  readonly seen: ReadonlyMap<number, ReadonlyMap<number, number>>;
};

export type Operation = Write | Read;

export type Guarantee = 'read-your-writes' | 'monotonic reads' | 'consistent prefix' | 'strong' | 'no ghosts';

export type Violation = { readonly guarantee: Guarantee; readonly session: number; readonly what: string };

/** Counts by table and writer. */
class Counts {
  readonly #of = new Map<string, number>();

  get(table: number, writer: number): number {
    return this.#of.get(`${table} ${writer}`) ?? 0;
  }

  raise(table: number, writer: number, value: number): void {
    if (value > this.get(table, writer)) this.#of.set(`${table} ${writer}`, value);
  }
}

/**
 * @param operations of all sessions, those of each in the order in which it did them
 * @param held reads of these levels have to keep what the session has seen; the others only what is true of any state
 */
export function check(
  operations: readonly Operation[],
  held: readonly Read['level'][] = ['session', 'strong'],
): Violation[] {
  const violations: Violation[] = [];
  const attempted = new Counts();
  for (const one of operations) if (one.kind === 'write') attempted.raise(one.table, one.session, one.value);
  const acknowledged = operations
    .filter((one): one is Write => one.kind === 'write' && one.outcome === 'ok')
    .sort((a, b) => a.endedMs - b.endedMs);
  const own = new Map<number, Counts>();
  const seenBy = new Map<number, Counts>();
  const countsOf = (of: Map<number, Counts>, session: number): Counts => {
    const known = of.get(session) ?? new Counts();
    of.set(session, known);
    return known;
  };
  for (const one of operations) {
    if (one.kind === 'write') {
      if (one.outcome === 'ok') countsOf(own, one.session).raise(one.table, one.session, one.value);
      continue;
    }
    const told = (guarantee: Guarantee, what: string) => violations.push({ guarantee, session: one.session, what });
    const mine = countsOf(own, one.session);
    const before = countsOf(seenBy, one.session);
    for (const [table, rows] of one.seen) {
      for (const [writer, value] of rows) {
        const where = `table ${table}, writer ${writer}: ${value}`;
        if (value > attempted.get(table, writer)) told('no ghosts', `${where}, which nobody wrote`);
        const later = one.seen.get(table + 1)?.get(writer);
        if (later !== undefined && later > value) {
          told('consistent prefix', `${where}, and ${later} in the next table at the same time`);
        }
        if (!held.includes(one.level)) continue;
        if (writer === one.session && value < mine.get(table, writer)) {
          told('read-your-writes', `${where}, after ${mine.get(table, writer)} was acknowledged`);
        }
        if (value < before.get(table, writer)) told('monotonic reads', `${where}, after ${before.get(table, writer)}`);
        // what is in a later table was in this one before
        for (let next = table + 1; next < table + 8; next++) {
          if (value < before.get(next, writer)) {
            told('consistent prefix', `${where}, after ${before.get(next, writer)} was seen in table ${next}`);
          }
        }
      }
    }
    for (const [table, rows] of one.seen) for (const [writer, value] of rows) before.raise(table, writer, value);
  }
  return [...violations, ...checkStrong(operations, acknowledged)];
}

/** A strong read sees every write that was acknowledged, to whomever, before it began. */
function checkStrong(operations: readonly Operation[], acknowledged: readonly Write[]): Violation[] {
  const violations: Violation[] = [];
  const reads = operations
    .filter((one): one is Read => one.kind === 'read' && one.level === 'strong')
    .sort((a, b) => a.startedMs - b.startedMs);
  const known = new Counts();
  let next = 0;
  for (const read of reads) {
    for (; (acknowledged[next]?.endedMs ?? Number.POSITIVE_INFINITY) < read.startedMs; next++) {
      const { table, session, value } = acknowledged[next] as Write;
      known.raise(table, session, value);
    }
    for (const [table, rows] of read.seen) {
      for (const [writer, value] of rows) {
        if (value >= known.get(table, writer)) continue;
        const what = `table ${table}, writer ${writer}: ${value}, after ${known.get(table, writer)} was acknowledged`;
        violations.push({ guarantee: 'strong', session: read.session, what });
      }
    }
  }
  return violations;
}
