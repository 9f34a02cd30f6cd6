/** Replays the transactions of a journal on the primary that lacks them: each as a whole, in their order, never twice, overwriting nothing. */
import type pg from 'pg';
import type { RowChange } from '../../replication/row-change.ts';
import type { JournalTransaction } from '../lost/journal-format.ts';
import type { Journal } from './read-journal.ts';
import { References } from './references.ts';
import { type ReplayContext, type RowOutcome, replayRow } from './row-replay.ts';
import { inWords } from './row-statements.ts';
import { Sequences } from './sequences.ts';
import { isAnswer, refusesValues, textOf } from './server-answer.ts';
import { SkippedRows } from './skipped-rows.ts';
import { TableShapes } from './table-shape.ts';

export type RecoverOptions = {
  /** False: everything is tried and taken back. */
  readonly apply: boolean;
  /** Replay the rest of a transaction some of whose rows are in conflict. */
  readonly skipRows: boolean;
};

/**
 * `replayed`: it was, or would be. `before`: an earlier run did it. `there`: somebody else has done all that it did. `conflict`: it
 * would overwrite something. `failed`: the server refused. `unknown`: its rows were not kept.
 */
export type ReplayState = 'replayed' | 'before' | 'there' | 'conflict' | 'failed' | 'unknown';

export type ReplayedTransaction = Pick<JournalTransaction, 'endLsn' | 'commitTime' | 'xid' | 'tables'> & {
  readonly state: ReplayState;
  /** Changes of rows in it. */
  readonly changes: number;
  /** Rows replayed, and rows left out with `skipRows`. */
  readonly rows: number;
  readonly skipped: number;
  /** What it does, in the words of SQL; of many the first ones. */
  readonly statements: readonly string[];
  readonly problems: readonly { readonly statement: string | null; readonly why: string }[];
};

export type Recovered = {
  readonly counts: Readonly<Record<ReplayState, number>>;
  /** Rows that were left out of what was replayed. */
  readonly skipped: number;
  readonly sequences: readonly { readonly sequence: string; readonly to: string }[];
  /** Whether triggers were kept from firing; else transactions on tables that have some are conflicts. */
  readonly asReplica: boolean;
  /** What is left to be done by hand: sequences that could not be moved on. */
  readonly notes: readonly string[];
};

const STATEMENTS_TOLD = 1000;
/** A row that somebody has locked for longer is a failure of its transaction. */
const LOCK_MS = 5000;

/** @param client prints values plainly, answers texts, and is on the cluster's database of the primary. @throws what ends the connection */
export async function recover(
  client: pg.Client,
  journal: Journal,
  options: RecoverOptions,
  told: (transaction: ReplayedTransaction) => void,
): Promise<Recovered> {
  await client.query(`SET lock_timeout = ${LOCK_MS}; SET row_security = off; SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_isolation = 'read committed'`);
  const asReplica = await succeeds(client, 'SET session_replication_role = replica');
  const replay = new Replay(client, journal, options, asReplica);
  const counts = { replayed: 0, before: 0, there: 0, conflict: 0, failed: 0, unknown: 0 };
  let skipped = 0;
  if (!options.apply) await client.query('BEGIN');
  await replay.start();
  for await (const transaction of journal.transactions) {
    const result = await replay.transaction(transaction);
    counts[result.state]++;
    if (result.state === 'replayed') skipped += result.skipped;
    told(result);
  }
  const { moved, refused } = await replay.sequences.advance(options.apply);
  if (!options.apply) await client.query('ROLLBACK');
  return { counts, skipped, sequences: moved, asReplica, notes: refused };
}

class Replay {
  readonly sequences: Sequences;
  readonly #client: pg.Client;
  readonly #journal: Journal;
  readonly #options: RecoverOptions;
  readonly #asReplica: boolean;
  readonly #shapes: TableShapes;
  readonly #skipped = new SkippedRows();
  /** Ids, as rows have them, of what replayed earlier transactions. */
  readonly #ours = new Set<string>();

  constructor(client: pg.Client, journal: Journal, options: RecoverOptions, asReplica: boolean) {
    this.#client = client;
    this.#journal = journal;
    this.#options = options;
    this.#asReplica = asReplica;
    this.#shapes = new TableShapes(client);
    this.sequences = new Sequences(client);
  }

  async start(): Promise<void> {
    const { oldTimeline, listedFrom } = this.#journal.header;
    if (listedFrom !== null) this.#skipped.addTables([]);
    const { rows } = await this.#client.query<{ id: string }>(
      'SELECT unnest(written_as) AS id FROM fairlead.recovered WHERE timeline = $1',
      [String(oldTimeline)],
    );
    for (const { id } of rows) this.#ours.add(id);
  }

  async transaction(lost: JournalTransaction): Promise<ReplayedTransaction> {
    const { endLsn, commitTime, xid, tables, rows } = lost;
    const about = { endLsn, commitTime, xid, tables };
    const nothing = { ...about, changes: rows?.length ?? 0, rows: 0, skipped: 0, statements: [], problems: [] };
    if (rows === null) {
      this.#skipped.addTables(tables);
      return { ...nothing, state: 'unknown', problems: [{ statement: null, why: lost.reason ?? 'no rows' }] };
    }
    const { apply } = this.#options;
    await this.#client.query(apply ? 'BEGIN' : 'SAVEPOINT lost');
    const outcome = await this.#try(lost, rows).catch((error) => {
      if (!isAnswer(error)) throw error;
      return { ...FAILED, state: stateOf(error), problems: [{ statement: null, why: textOf(error) }] };
    });
    const { state, done, written } = outcome;
    const keep = state === 'replayed' || state === 'there';
    try {
      await this.#client.query(apply ? (keep ? 'COMMIT' : 'ROLLBACK') : keep ? 'RELEASE lost' : 'ROLLBACK TO lost');
    } catch (error) {
      if (!isAnswer(error)) throw error;
      await this.#skipAll(rows);
      return { ...nothing, state: stateOf(error), problems: [{ statement: null, why: textOf(error) }] };
    }
    if (keep) {
      for (const id of written) this.#ours.add(id);
      for (const { change, outcome: one } of done) await this.#settle(change, one);
    } else if (state === 'before') await this.#drawn(rows);
    else await this.#skipAll(rows);
    const statements = await this.#statements(rows.slice(0, STATEMENTS_TOLD), done);
    const replayed = done.filter(({ outcome: one }) => one.kind === 'done').length;
    const skipped = keep ? done.length - replayed : 0;
    return { ...nothing, state, rows: keep ? replayed : 0, skipped, statements, problems: outcome.problems };
  }

  /** In the open transaction, which is to be kept only where the state says so. @throws what the server answers */
  async #try(lost: JournalTransaction, rows: readonly RowChange[]): Promise<Tried> {
    const client = this.#client;
    const { oldTimeline, firstXid } = this.#journal.header;
    const claim = await client.query(
      `INSERT INTO fairlead.recovered (timeline, end_lsn, xid, written_as, rows, skipped, at)
      VALUES ($1, $2, $3, '{}', 0, 0, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING 1`,
      [String(oldTimeline), lost.endLsn, String(lost.xid)],
    );
    if (claim.rows.length === 0) return { ...FAILED, state: 'before' };
    await client.query('SET CONSTRAINTS ALL DEFERRED');
    const references = this.#asReplica ? new References(client) : null;
    const ours = new Set(this.#ours);
    const context: ReplayContext = {
      ...{ client, shapes: this.#shapes, skipped: this.#skipped, references, ours, firstXid: BigInt(firstXid) },
    };
    const done: Done[] = [];
    const problems: { statement: string | null; why: string }[] = [];
    if (lost.ddl)
      problems.push({ statement: null, why: 'it changed the schema, which is not kept: change it by hand' });
    for (const change of rows) {
      const outcome = await this.#row(change, context).catch((error): Refused => {
        if (!isAnswer(error)) throw error;
        return { kind: 'refused', state: stateOf(error), why: textOf(error) };
      });
      if (outcome.kind === 'refused') {
        const statement = inWords(change, change.op === 'truncate' ? null : this.#shapes.known(change));
        return { ...FAILED, state: outcome.state, problems: [...problems, { statement, why: outcome.why }] };
      }
      done.push({ change, outcome });
      if (outcome.kind === 'conflict') problems.push({ statement: inWords(change, outcome.shape), why: outcome.why });
    }
    await client.query('SET CONSTRAINTS ALL IMMEDIATE');
    const broken = await references?.broken();
    if (typeof broken === 'string') {
      return { ...FAILED, state: 'conflict', problems: [...problems, { statement: null, why: broken }] };
    }
    const there = done.filter(({ outcome }) => outcome.kind === 'there');
    const all = rows.length > 0 && there.length === rows.length && problems.length === 0;
    if (!all) {
      for (const { change, outcome } of there) {
        problems.push({ statement: inWords(change, outcome.shape), why: 'the row is like that already' });
      }
    }
    const { skipRows } = this.#options;
    if (problems.length > 0 && !(skipRows && rows.length > 0)) return { ...FAILED, state: 'conflict', problems };
    const written = [...ours].filter((id) => !this.#ours.has(id));
    const count = done.filter(({ outcome }) => outcome.kind === 'done').length;
    await client.query(
      'UPDATE fairlead.recovered SET written_as = $3, rows = $4, skipped = $5 WHERE timeline = $1 AND end_lsn = $2',
      [String(oldTimeline), lost.endLsn, `{${written.join(',')}}`, String(count), String(rows.length - count)],
    );
    return { state: all ? 'there' : 'replayed', done, written, problems };
  }

  /** With `skipRows` a row whose values the server refuses leaves the others alone; anything else fails the transaction. */
  async #row(change: RowChange, context: ReplayContext): Promise<RowOutcome> {
    if (!this.#options.skipRows) return replayRow(change, context);
    await this.#client.query('SAVEPOINT one_row');
    try {
      const outcome = await replayRow(change, context);
      await this.#client.query('RELEASE one_row');
      return outcome;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      await this.#client.query('ROLLBACK TO one_row');
      if (!refusesValues(error)) throw error;
      return {
        kind: 'conflict',
        shape: change.op === 'truncate' ? null : await this.#shapes.of(change),
        why: textOf(error),
      };
    }
  }

  /** Of a transaction that was kept. */
  async #settle(change: RowChange, { kind, shape }: RowOutcome): Promise<void> {
    if (kind === 'conflict') await this.#skip(change);
    else if (change.op === 'insert' && shape !== null) this.sequences.inserted(shape, change.new);
  }

  /** Of a transaction that an earlier run replayed, which may have ended before it moved the sequences. */
  async #drawn(rows: readonly RowChange[]): Promise<void> {
    for (const change of rows) {
      const shape = change.op === 'insert' ? await this.#shapes.of(change) : null;
      if (shape !== null && change.op === 'insert') this.sequences.inserted(shape, change.new);
    }
  }

  async #skipAll(rows: readonly RowChange[]): Promise<void> {
    for (const change of rows) await this.#skip(change);
  }

  async #skip(change: RowChange): Promise<void> {
    if (change.op === 'truncate') {
      for (const table of change.tables) {
        const shape = await this.#shapes.of(table);
        if (shape !== null) this.#skipped.addTables([shape.name]);
      }
      return;
    }
    const shape = await this.#shapes.of(change);
    if (shape !== null) this.#skipped.add(change, shape);
  }

  async #statements(rows: readonly RowChange[], done: readonly Done[]): Promise<string[]> {
    const statements: string[] = [];
    for (const [i, change] of rows.entries()) {
      const outcome = done[i]?.outcome;
      const set = outcome?.kind === 'done' ? outcome.set : undefined;
      statements.push(inWords(change, change.op === 'truncate' ? null : await this.#shapes.of(change), set));
    }
    return statements;
  }
}

type Done = { readonly change: RowChange; readonly outcome: RowOutcome };

/** The transaction is broken: its other rows cannot be looked at. */
type Refused = { readonly kind: 'refused'; readonly state: ReplayState; readonly why: string };

type Tried = {
  readonly state: ReplayState;
  readonly done: readonly Done[];
  /** Ids that the rows have that were written. */
  readonly written: readonly string[];
  readonly problems: ReplayedTransaction['problems'];
};

const FAILED: Tried = { state: 'failed', done: [], written: [], problems: [] };

async function succeeds(client: pg.Client, statement: string): Promise<boolean> {
  try {
    await client.query(statement);
    return true;
  } catch (error) {
    if (!isAnswer(error)) throw error;
    return false;
  }
}

function stateOf(error: unknown): ReplayState {
  return (error as { code: string }).code.startsWith('23') ? 'conflict' : 'failed';
}
