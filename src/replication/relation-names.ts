import type { ControlConnection } from '../backend/control-connection.ts';
import { nowMs } from '../core/clock.ts';
import { type Lsn, parseLsn } from '../core/lsn.ts';

/** A table with everything it is a partition or an inheritance child of: a change of the leaf is a change of the root. */
type Resolved = { readonly oids: readonly number[]; readonly fromLsn: Lsn };

type Row = {
  readonly name: string;
  readonly oids: string;
  readonly names: readonly string[];
  readonly lsn: string;
  readonly snapshot: string;
};

const RESOLVE_SQL = `
WITH RECURSIVE up AS (
  SELECT u.name, c.oid FROM unnest($1::text[]) u (name) JOIN pg_catalog.pg_class c ON c.oid = to_regclass(u.name)
  WHERE c.relkind IN ('r', 'p', 'm')
  UNION SELECT up.name, i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid
)
SELECT up.name, string_agg(up.oid::text, ',' ORDER BY up.oid) AS oids, array_agg(format('%I.%I', n.nspname, c.relname) ORDER BY up.oid) AS names,
  pg_current_wal_insert_lsn()::text AS lsn, pg_current_snapshot()::text AS snapshot
FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace GROUP BY up.name`;

/** A change that the stream has told is visible a moment later, or when its transaction has waited for a synchronous replica. */
const UNSEEN_MS = 20;
const UNSEEN_MAX_MS = 2000;

/**
 * The stream names tables, the model knows them by OID. A name that is not known yet is looked up in the present catalog, and the
 * answer is used for commits after the position of that look-up only: an earlier commit may have meant another table of that name. A
 * DDL mark makes all names unknown again. Until a name is known, the caller has to take its commits for changes of everything.
 */
export class RelationNames {
  readonly #connection: ControlConnection;
  #names: string[] = [];
  readonly #resolved = new Map<string, Resolved>();
  readonly #wanted = new Set<string>();
  /** Rises with every `forget`: an answer of a look-up that began before it is void. */
  #generation = 0;
  #looking = false;
  /** No look-up before this instant (monotonic milliseconds), and how long the next pause is. */
  #notBeforeMs = 0;
  #unseenMs = UNSEEN_MS;

  readonly #shows: (snapshot: string) => boolean;
  readonly #called: (oid: number, name: string) => void;

  /**
   * @param shows whether all changes of the schema that the stream has told are visible in a snapshot
   * @param called is told what the relations are called that were looked up
   */
  constructor(
    connection: ControlConnection,
    shows: (snapshot: string) => boolean,
    called: (oid: number, name: string) => void = () => {},
  ) {
    this.#connection = connection;
    this.#shows = shows;
    this.#called = called;
  }

  /** A new stream numbers anew. */
  reset(): void {
    this.#names = [];
    this.forget();
  }

  learn(names: readonly string[], firstNumber: number): void {
    for (let i = 0; i < names.length; i++) this.#names[firstNumber + i] = names[i] as string;
  }

  forget(): void {
    this.#generation++;
    this.#resolved.clear();
    this.#wanted.clear();
  }

  /** Names by number. */
  named(numbers: Uint32Array): string[] {
    return Array.from(numbers, (number) => this.#names[number] as string);
  }

  /** OIDs that a change of table `number` touches, in a commit that ended at `endLsn`; null when that is not known (yet). */
  oidsOf(number: number, endLsn: Lsn): readonly number[] | null {
    const name = this.#names[number] as string;
    const known = this.#resolved.get(name);
    if (known === undefined) {
      this.#wanted.add(name);
      return null;
    }
    return endLsn > known.fromLsn ? known.oids : null;
  }

  /** Looks up what was asked for in vain; one look-up at a time. @throws ControlError */
  async resolve(): Promise<void> {
    if (this.#looking || this.#wanted.size === 0 || nowMs() < this.#notBeforeMs) return;
    this.#looking = true;
    const generation = this.#generation;
    const names = [...this.#wanted];
    try {
      const rows = await this.#connection.query<Row>(RESOLVE_SQL, [names]);
      if (generation !== this.#generation) return;
      // a rename may stand in the stream before it can be seen: the answer would be that of before
      if (rows.some(({ snapshot }) => !this.#shows(snapshot))) {
        this.#notBeforeMs = nowMs() + this.#unseenMs;
        this.#unseenMs = Math.min(UNSEEN_MAX_MS, this.#unseenMs * 2);
        return;
      }
      this.#unseenMs = UNSEEN_MS;
      for (const name of names) this.#wanted.delete(name);
      for (const { name, oids: texts, names: labels, lsn } of rows) {
        const oids = texts.split(',').map(Number);
        this.#resolved.set(name, { oids, fromLsn: parseLsn(lsn) });
        labels.forEach((label, i) => {
          this.#called(oids[i] as number, label);
        });
      }
    } finally {
      this.#looking = false;
    }
  }
}
