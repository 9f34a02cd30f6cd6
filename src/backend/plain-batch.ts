import { SERVER } from '../wire/message-type.ts';
import type { Counts } from './database-counters.ts';
import type { StatementEntry, Undone } from './exchange.ts';
import type { ServerStatements } from './server-statements.ts';

const NO_UNNAMED: readonly Undone[] = [{ name: '', statement: null }];

/** A batch of which all replies are for the client: statements that the server has, or the unnamed one, and nothing of ours among them. */
export class PlainBatch {
  /** It begins with a Parse under the empty name. */
  parses = false;
  binds = 0;
  /** What the Describe is about, where somebody relies on it. */
  described: StatementEntry | null = null;
  #parsed = false;

  /** A reply that goes along, at `start`..`end`. */
  heard(type: number, statements: ServerStatements, buffer: Buffer, start: number, end: number): void {
    if (type === SERVER.PARSE_COMPLETE) this.#parsed = true;
    else if (this.described !== null && (type === SERVER.ROW_DESCRIPTION || type === SERVER.NO_DATA))
      statements.described(this.described, type, buffer, start, end);
  }

  /** What an error now leaves of the client's names. */
  get undone(): readonly Undone[] | null {
    return this.parses && !this.#parsed ? NO_UNNAMED : null;
  }

  count(counts: Counts): void {
    counts.binds += this.binds;
    if (!this.parses) return;
    counts.clientParses++;
    counts.serverParses++;
  }
}
