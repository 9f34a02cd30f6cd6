import { FairleadError } from '../core/errors.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import type { Columns, RowOf } from './table.ts';

/** Who asks. */
export type Operator = {
  readonly user: string;
  readonly address: string;
  /** Connected to database `pgbouncer`: exporters for PgBouncer want one row per database and user, whatever the nodes. */
  readonly asPgbouncer: boolean;
  /** False for those who may only look. */
  readonly mayOperate: boolean;
  /** Aborted when the operator cancels the command, or is gone. */
  readonly signal: AbortSignal;
};

export type Outcome = {
  /** Of CommandComplete. */
  readonly tag: string;
  readonly rows: readonly RowOf<Columns>[];
  /** Sentences for the operator, sent before the rows. */
  readonly notices: readonly string[];
};

export type Command = {
  /** Upper case: `SHOW`, `POOLS`. */
  readonly words: readonly string[];
  /** How its argument is called in the help; null when it takes none. */
  readonly argument: { readonly name: string; readonly required: boolean } | null;
  /** Null: listed nowhere, it is there for drivers. */
  readonly help: string | null;
  /** Its argument is all the words that follow. */
  readonly takesRest?: boolean;
  /** Null when it answers no rows. Known before it runs: drivers ask first. */
  readonly columns: Columns | null;
  /** @throws FairleadError */
  run(argument: string | null, console: ConsoleDependencies, operator: Operator): Outcome | Promise<Outcome>;
};

type Show<C extends Columns> = {
  readonly name: string;
  readonly help: string;
  readonly columns: C;
  readonly argument?: string;
  rows(
    console: ConsoleDependencies,
    operator: Operator,
    argument: string | null,
  ): readonly RowOf<C>[] | Promise<readonly RowOf<C>[]>;
};

/** A `SHOW name`. */
export function show<const C extends Columns>({ name, help, columns, argument, rows }: Show<C>): Command {
  return {
    words: ['SHOW', name],
    argument: argument === undefined ? null : { name: argument, required: false },
    help,
    columns,
    async run(given, console, operator) {
      return { tag: 'SHOW', rows: await rows(console, operator, given), notices: [] };
    },
  };
}

/** A configured node's name from what an operator typed: exactly, or whatever the case where that is not ambiguous. */
export function nodeNamed(text: string, { cluster }: ConsoleDependencies): string {
  const names = cluster.nodes.map((node) => node.name);
  if (names.includes(text)) return text;
  const alike = names.filter((name) => name.toLowerCase() === text.toLowerCase());
  if (alike.length === 1) return alike[0] as string;
  throw new FairleadError('refused', `there is no node ${text}`, 'SHOW NODES lists the nodes');
}
