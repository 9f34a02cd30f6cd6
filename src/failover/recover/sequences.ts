import type pg from 'pg';
import type { Values } from '../../replication/row-change.ts';
import { isAnswer, textOf } from './server-answer.ts';
import type { TableShape } from './table-shape.ts';
import { valueIn } from './values.ts';

export type Advanced = {
  readonly moved: readonly { readonly sequence: string; readonly to: string }[];
  /** Those that the server refused to show or to move, in words. */
  readonly refused: readonly string[];
};

/** Sequences of replayed rows: what they gave out on the former primary they must not give out again. */
export class Sequences {
  readonly #client: pg.Client;
  readonly #highest = new Map<string, bigint>();

  constructor(client: pg.Client) {
    this.#client = client;
  }

  inserted({ columns }: TableShape, row: Values): void {
    for (const { name, sequence } of columns) {
      const value = valueIn(row, name);
      if (sequence === null || value === null || !/^\d+$/.test(value)) continue;
      const highest = this.#highest.get(sequence);
      if (highest === undefined || BigInt(value) > highest) this.#highest.set(sequence, BigInt(value));
    }
  }

  /**
   * Rising ones that are behind, and where they have to be. One that fails leaves the others alone.
   * @param apply they are moved there; else a transaction is open, and goes on. @throws what ends the connection
   */
  async advance(apply: boolean): Promise<Advanced> {
    const moved: { sequence: string; to: string }[] = [];
    const refused: string[] = [];
    for (const [sequence, highest] of this.#highest) {
      const to = String(highest);
      if (!apply) await this.#client.query('SAVEPOINT one_sequence');
      try {
        if (await this.#advance(sequence, to, apply)) moved.push({ sequence, to });
      } catch (error) {
        if (!isAnswer(error)) throw error;
        if (!apply) await this.#client.query('ROLLBACK TO one_sequence');
        refused.push(`${sequence} may give out ${to} again, it could not be moved on: ${textOf(error)}`);
      }
    }
    return { moved, refused };
  }

  /** Looked at and moved by one statement: others draw from it all the while. @returns whether it was behind */
  async #advance(sequence: string, to: string, apply: boolean): Promise<boolean> {
    const { rows } = await this.#client.query(
      `SELECT ${apply ? 'setval($2::regclass, $1::bigint)' : '1'} FROM ${sequence}
      WHERE (last_value < $1::bigint OR (last_value = $1::bigint AND NOT is_called))
        AND (SELECT seqincrement > 0 FROM pg_sequence WHERE seqrelid = $2::regclass)`,
      [to, sequence],
    );
    return rows.length > 0;
  }
}
