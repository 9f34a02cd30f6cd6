import { SERVER } from '../wire/message-type.ts';
import type { Counts } from './database-counters.ts';
import type { StatementEntry, Undone } from './exchange.ts';
import type { PreparedStatement } from './prepared-statement.ts';
import type { ServerStatements } from './server-statements.ts';

const NO_UNNAMED: readonly Undone[] = [{ name: '', statement: null }];

/** A batch of which all replies are for the client: statements that the server has, or the unnamed one, and nothing of ours among them. */
export class PlainBatch {
  /** It begins with a Parse under the empty name. */
  parses = false;
  binds = 0;
  /** What the Describe is about, where somebody relies on it. */
  described: StatementEntry | null = null;
  /** The statement it names, and what the client calls that. */
  #named: PreparedStatement | null = null;
  #name = '';
  /** Where there are several: by their names on the server. */
  #names: Map<string, string> | null = null;
  #parsed = false;

  /** It executes a statement that has a name. Mostly there is one, and nothing is made up for it. */
  names(statement: PreparedStatement, clientName: string): void {
    if (this.#named === null) {
      this.#named = statement;
      this.#name = clientName;
      return;
    }
    this.#names ??= new Map([[this.#named.serverName, this.#name]]);
    this.#names.set(statement.serverName, clientName);
  }

  /** What the client calls the statement that a server's text names; null: it names none of these. */
  clientName(text: string): string | null {
    if (this.#names === null) return this.#named === null ? null : this.#name;
    for (const [serverName, name] of this.#names) if (text.includes(`"${serverName}"`)) return name;
    return null;
  }

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
