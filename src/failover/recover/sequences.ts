import type pg from 'pg';
import type { Values } from '../../replication/row-change.ts';
import type { TableShape } from './table-shape.ts';

/** Sequences of replayed rows: what they gave out on the former primary they must not give out again. */
export class Sequences {
  readonly #client: pg.Client;
  readonly #highest = new Map<string, bigint>();

  constructor(client: pg.Client) {
    this.#client = client;
  }

  inserted({ columns }: TableShape, row: Values): void {
    for (const { name, sequence } of columns) {
      const value = row[name];
      if (sequence === null || value === undefined || value === null || !/^\d+$/.test(value)) continue;
      const highest = this.#highest.get(sequence);
      if (highest === undefined || BigInt(value) > highest) this.#highest.set(sequence, BigInt(value));
    }
  }

  /** Rising ones that are behind, and where they have to be; with `apply` they are moved there. @throws what the server answers */
  async advance(apply: boolean): Promise<readonly { readonly sequence: string; readonly to: string }[]> {
    const moved: { sequence: string; to: string }[] = [];
    for (const [sequence, highest] of this.#highest) {
      const { rows } = await this.#client.query<{ behind: string }>(
        `SELECT (last_value < $1::bigint AND (SELECT seqincrement > 0 FROM pg_sequence WHERE seqrelid = $2::regclass))::text AS behind
        FROM ${sequence}`,
        [String(highest), sequence],
      );
      if (rows[0]?.behind !== 'true') continue;
      if (apply) await this.#client.query('SELECT setval($1::regclass, $2::bigint)', [sequence, String(highest)]);
      moved.push({ sequence, to: String(highest) });
    }
    return moved;
  }
}
